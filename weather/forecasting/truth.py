"""The truth beside forecasts, where an archive has it: in whatever split a valid time lies."""

from __future__ import annotations

import contextlib

import numpy as np

from weather.data.archive import Archive
from weather.data.loader import check_finite
from weather.data.reader import StateReader
from weather.forecasting.initial_times import find_state


class Truth:
    """Reads true states by their time.

    Args:
        archive: with time stamps.
        channels: how many of the first channels.
    """

    def __init__(self, archive: Archive, channels: int) -> None:
        self.archive, self.channels = archive, channels
        self.splits = [archive.splits[name] for name in ("test", "valid", "train") if name in archive.splits]
        self._readers: dict[str, StateReader] = {}

    def has(self, time: np.datetime64) -> bool:
        return find_state(self.splits, time) is not None

    def at(self, time: np.datetime64) -> np.ndarray | None:
        """The state [channel, lat, lon] float32 at a time, or None where the archive has none.

        Raises:
            DataError: it cannot be read.
        """
        found = find_state(self.splits, time)
        if found is None:
            return None
        reader = self._readers.get(found.split.name)
        if reader is None:
            reader = StateReader(found.split, self.archive.channel_indices[: self.channels])
            self._readers[found.split.name] = reader
        field = np.empty((1, self.channels, *self.archive.grid), np.float32)
        reader.read(np.array([found.newest]), field)
        return field[0]

    def finite_at(self, time: np.datetime64) -> np.ndarray | None:
        """The same, for scores.

        Raises:
            DataError: it cannot be read, or holds a value that is not finite.
        """
        field = self.at(time)
        found = find_state(self.splits, time)
        if field is not None and found is not None and not np.isfinite(field).all():
            check_finite(self.archive, found.split, [found.newest])  # says where
        return field

    def close(self) -> None:
        """Close the files."""
        with contextlib.ExitStack() as readers:
            for reader in self._readers.values():
                readers.callback(reader.close)

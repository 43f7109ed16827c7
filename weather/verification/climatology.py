"""The climatology that a forecast must beat: what is usual at this place, season and hour.

Only training states are used: a climatology that has seen the evaluated states would be a leak.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np
import torch

from weather.data.archive import Archive
from weather.errors import ConfigError
from weather.runtime.progress import progress_bar
from weather.runtime.ranks import Ranks
from weather.verification.harmonics import ALONE, fit_harmonics
from weather.verification.window import FEWEST_STATES, WIDER, plan_window
from weather.verification.window_file import window_climatology


class ClimatologyFields(Protocol):
    """A climatology opened on a device; to be closed."""

    def batches(self, order: Iterable[tuple[np.ndarray | None, int]]) -> Iterator[torch.Tensor]:
        """Usual fields [count, channel, lat, lon] float32, in physical units, each valid until the next is asked for.

        Args:
            order: times [count] datetime64[s] (None: unknown) and their count, batch by batch; asked for ahead.
        """
        ...

    def close(self) -> None: ...


class Climatology(Protocol):
    """What is usual, of the first channels of an archive."""

    def at(self, time: np.ndarray | None, count: int) -> np.ndarray:
        """Fields [count, channel, lat, lon] float32 that are usual at times [count] (None: unknown)."""
        ...

    def open(self, device: torch.device, *, batch_size: int, threads: int) -> ClimatologyFields: ...

    def describe(self) -> str:
        """What it is and of what, in words."""
        ...


def fit_climatology(
    archive: Archive,
    kind: str = "auto",
    *,
    ranks: Ranks = ALONE,
    channels: int | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Climatology:
    """The climatology of an archive's training split; every rank calls it and gets the whole.

    Args:
        kind: `window`, by day of year and hour as WeatherBench 2 (see `window`), or `harmonic` (see `harmonics`);
            `auto`: by day of year where there are enough training states for each, else harmonic.
        channels: how many of the first channels; None: all.
        report: told what takes long.

    Raises:
        ConfigError: a window is asked for, and there are too few training states.
        DataError: a state cannot be read, or there is no room for the climatology.
    """
    split = archive.splits["train"]
    window = None
    if kind != "harmonic" and split.time is not None:
        window = plan_window(split.time, split.step_hours)
    if window is not None:
        with progress_bar("climatology", shows=ranks.first) as progress:
            return window_climatology(archive, window, ranks=ranks, channels=channels, report=report, progress=progress)
    if kind == "window":
        raise ConfigError(
            "--climatology window"
            + (": the archive has no time stamps" if split.time is None else f": {split.states} training states"),
            where=archive.data_dir / "train",
            rule=f"each day of the year and hour needs {FEWEST_STATES} training states within "
            f"{WIDER} days of it, of any year",
            fix="choose --climatology auto or harmonic",
        )
    return fit_harmonics(archive, ranks=ranks, channels=channels)

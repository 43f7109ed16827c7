"""Tiny archives with known contents, written in milliseconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from weather.config.schema import DataSection
from weather.data.moments import Moments
from weather.data.statistics import write_statistics
from weather.data.year_file import create_year_file, default_latitude, default_longitude

CHANNELS = ("t2m", "u10", "z500")
STATES_PER_FILE: Mapping[str, Sequence[int]] = {"train": (8, 8), "valid": (6,), "test": (6,)}


@dataclass(frozen=True)
class WrittenArchive:
    """An archive on disk and what was written into it.

    Attributes:
        fields: per split one array a file, [time, channel, lat, lon] float32, as a correct reader gives them back.
    """

    folder: Path
    fields: dict[str, list[np.ndarray]]

    def path(self, split: str = "train", number: int = 0) -> Path:
        """Year file `number` of a split."""
        return self.folder / split / f"part_{number}.h5"

    def states(self, split: str = "train") -> np.ndarray:
        """All states of a split, files one after the other."""
        return np.concatenate(self.fields[split])

    def section(self, **settings: object) -> DataSection:
        """The `data` section of a config for this archive."""
        return DataSection.model_validate({"data_dir": str(self.folder), **settings})


def write_archive(
    folder: Path,
    *,
    files: Mapping[str, Sequence[int]] = STATES_PER_FILE,
    channels: Sequence[str] = CHANNELS,
    grid: tuple[int, int] = (4, 8),
    times: Mapping[str, Sequence[np.ndarray | None]] | None = None,
    step_hours: float = 6.0,
    latitude: np.ndarray | None = None,
    dtype: str = "float32",
    chunks: tuple[int, int, int, int] | None = None,
    compression: str | None = None,
    statistics: bool = True,
    seed: int = 0,
) -> WrittenArchive:
    """Write ``<split>/part_0.h5``, ``part_1.h5``, ... and ``stats/``.

    Every channel is noise around its own mean (channel c: mean 10 c, standard deviation 1 + c), unlike in any two
    states. All files of a split follow one another in time, and each split begins ten years after the one before.

    Args:
        files: states in each file of each split.
        times: hours since 2000-01-01 of the states of each file, where they are not as above; None: no time stamps.
        dtype, chunks, compression: how ``fields`` lies in the files; contiguous without chunks.
        statistics: also write the statistics of the first split.
    """
    generator = np.random.default_rng(seed)
    mean = 10.0 * np.arange(len(channels)).reshape(-1, 1, 1)
    scale = 1.0 + np.arange(len(channels)).reshape(-1, 1, 1)
    written: dict[str, list[np.ndarray]] = {}
    for decade, (split, counts) in enumerate(files.items()):
        begin = decade * 87_660.0
        written[split] = []
        for number, count in enumerate(counts):
            hours: np.ndarray | None = begin + step_hours * np.arange(count)
            begin += step_hours * count
            if times is not None and split in times:
                hours = times[split][number]
            stored = (mean + scale * generator.standard_normal((count, len(channels), *grid))).astype(dtype)
            with create_year_file(
                folder / split / f"part_{number}.h5",
                states=count,
                channels=channels,
                latitude=default_latitude(grid[0]) if latitude is None else latitude,
                longitude=default_longitude(grid[1]),
                time_hours=hours,
                chunks=chunks,
                compression=compression,
                dtype=dtype,
            ) as dataset:
                dataset[...] = stored
            written[split].append(stored.astype(np.float32))
    if statistics:
        moments = Moments(len(channels))
        for fields in next(iter(written.values())):
            moments.update(fields)
        write_statistics(folder, moments.statistics)
    return WrittenArchive(folder, written)

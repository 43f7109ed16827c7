"""Per-channel mean and standard deviation: computed in one pass, kept in ``stats/``, read back and checked."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from weather.errors import DataError

MEANS_FILE = "global_means.npy"
STANDARD_DEVIATIONS_FILE = "global_stds.npy"


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of each channel, both float32 [C] in the channel's physical unit."""

    means: np.ndarray
    stds: np.ndarray


class Moments:
    """Count, mean and sum of squared deviations of each channel, merged piece by piece in float64.

    The merge is exact in any order (Chan, Golub & LeVeque 1983, eq. 2.1), so the standard deviation is that
    of all values together: never a mean over pieces of their standard deviations.
    """

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.mean = np.zeros(channels)
        self.squares = np.zeros(channels)

    def update(self, fields: np.ndarray) -> None:
        """Take in `fields` [time, channel, lat, lon]."""
        values = np.moveaxis(np.asarray(fields, np.float64), 1, 0).reshape(fields.shape[1], -1)
        piece = Moments(fields.shape[1])
        piece.count = values.shape[1]
        piece.mean = values.mean(axis=1)
        piece.squares = ((values - piece.mean[:, None]) ** 2).sum(axis=1)
        self.merge(piece)

    def merge(self, other: Moments) -> None:
        total = self.count + other.count
        if not total:
            return
        shift = other.mean - self.mean
        self.mean = self.mean + shift * other.count / total
        self.squares = self.squares + other.squares + shift**2 * (self.count * other.count / total)
        self.count = total

    @property
    def statistics(self) -> Statistics:
        stds = np.sqrt(self.squares / max(self.count, 1))
        return Statistics(self.mean.astype(np.float32), stds.astype(np.float32))


def write_statistics(data_dir: Path, statistics: Statistics) -> None:
    """Write ``stats/global_means.npy`` and ``stats/global_stds.npy``, both [1, C, 1, 1] float32."""
    folder = Path(data_dir) / "stats"
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in ((MEANS_FILE, statistics.means), (STANDARD_DEVIATIONS_FILE, statistics.stds)):
        partial = folder / f"{name}.partial"
        with open(partial, "wb") as file:
            np.save(file, values.astype(np.float32).reshape(1, -1, 1, 1))
        os.replace(partial, folder / name)


def read_statistics(data_dir: Path, channels: tuple[str, ...], selected: tuple[int, ...] | None = None) -> Statistics:
    """Read the statistics of an archive with these channels; [1, C, 1, 1], [C, 1, 1] and [C] are accepted.

    Args:
        channels: all of the archive.
        selected: positions of those that are used; None: all.

    Raises:
        DataError: a file is missing, has another length, is not finite, or a standard deviation is not positive.
    """
    means = _read(Path(data_dir) / "stats" / MEANS_FILE, channels)
    stds_file = Path(data_dir) / "stats" / STANDARD_DEVIATIONS_FILE
    stds = _read(stds_file, channels)
    used = list(range(len(channels))) if selected is None else list(selected)
    for index in used:
        std = stds[index]
        if std <= 0:
            raise DataError(
                f"channel '{channels[index]}' has standard deviation {std:g}",
                where=stds_file,
                rule="every standard deviation is positive",
                fix="leave the channel out (data.channels) or compute the statistics again",
            )
    return Statistics(means[used], stds[used])


def _read(path: Path, channels: tuple[str, ...]) -> np.ndarray:
    try:
        values = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(
            "the file is missing", where=path, rule=f"stats/ holds {MEANS_FILE} and {STANDARD_DEVIATIONS_FILE}"
        ) from error
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"not a readable .npy file ({error})", where=path) from error
    count = len(channels)
    if values.shape not in ((1, count, 1, 1), (count, 1, 1), (count,)):
        raise DataError(
            f"shape {values.shape} does not fit the archive's {count} channels",
            where=path,
            rule=f"[1, {count}, 1, 1], [{count}, 1, 1] or [{count}]",
        )
    flat = values.reshape(-1)
    if not np.issubdtype(flat.dtype, np.number) or not np.isfinite(flat).all():
        raise DataError("not all values are finite numbers", where=path)
    return flat.astype(np.float32)

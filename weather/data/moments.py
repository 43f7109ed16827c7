"""Count, mean, spread and range of each channel, taken in block by block and exact in float64."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

TILE = 32_768  # values worked on at once: as float64 they fit into a core's second-level cache


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of each channel, both float32 [C] in the channel's physical unit.

    Attributes:
        differences: standard deviation [C] of the difference of two states, by lead in time steps, of those leads that
            a model forecasts in this unit.
    """

    means: np.ndarray
    stds: np.ndarray
    differences: Mapping[int, np.ndarray] = field(default_factory=dict)


class Moments:
    """Count, mean, sum of squared deviations, minimum and maximum of each channel.

    Blocks and whole archives are merged exactly in any order (Chan, Golub & LeVeque 1983, eq. 2.1), so the standard
    deviation is that of all values together: never a mean over pieces of their standard deviations.

    Attributes:
        count: values of each channel, the same for all.
        mean, squares, minimum, maximum: [C] float64; squares is the sum of squared deviations from the mean. Without
            any value the mean and the squares are 0, the range is from inf to -inf.
    """

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.mean = np.zeros(channels)
        self.squares = np.zeros(channels)
        self.minimum = np.full(channels, np.inf)
        self.maximum = np.full(channels, -np.inf)

    def update(self, fields: np.ndarray) -> None:
        """Take in `fields` [time, channel, lat, lon]. A value that is not finite makes its channel's moments NaN.

        Deviations are taken in float64 from a pivot near the mean, so that one reading of the block gives both sums
        and the spread survives an offset that is far larger (Chan et al. 1983, section 3, shifted data).
        """
        if not fields.size:
            return
        planes = fields.reshape(*fields.shape[:2], -1)
        with np.errstate(invalid="ignore", over="ignore"):
            pivot = self.mean if self.count else planes[0].mean(axis=1, dtype=np.float64)
            self.merge(_shifted_sums(planes, pivot))

    def merge(self, other: Moments) -> None:
        """Take in the values that `other` has seen."""
        total = self.count + other.count
        if not total:
            return
        shift = other.mean - self.mean
        self.mean = self.mean + shift * (other.count / total)
        self.squares = self.squares + other.squares + shift**2 * (self.count * (other.count / total))
        self.minimum = np.minimum(self.minimum, other.minimum)
        self.maximum = np.maximum(self.maximum, other.maximum)
        self.count = total

    @property
    def stds(self) -> np.ndarray:
        """[C] float64 standard deviations, with the count as the divisor."""
        return np.sqrt(self.squares / max(self.count, 1))

    @property
    def statistics(self) -> Statistics:
        """What a model's inputs are scaled by."""
        return Statistics(self.mean.astype(np.float32), self.stds.astype(np.float32))


def _shifted_sums(planes: np.ndarray, pivot: np.ndarray) -> Moments:
    """Moments of `planes` [time, channel, points] by sums of deviations from `pivot` [channel]."""
    times, channels, points = planes.shape
    piece = Moments(channels)
    piece.count = times * points
    sums = np.zeros(channels)
    columns = min(points, TILE)
    rows = min(channels, max(1, TILE // columns))
    deviations = np.empty((rows, columns))
    for state in planes:
        for top in range(0, channels, rows):
            taken = slice(top, min(top + rows, channels))
            for left in range(0, points, columns):
                tile = state[taken, left : left + columns]
                deviation = deviations[: tile.shape[0], : tile.shape[1]]
                np.copyto(deviation, tile)
                np.subtract(deviation, pivot[taken, None], out=deviation)
                sums[taken] += deviation.sum(axis=1)
                piece.squares[taken] += np.einsum("ij,ij->i", deviation, deviation)
                np.minimum(piece.minimum[taken], tile.min(axis=1), out=piece.minimum[taken])
                np.maximum(piece.maximum[taken], tile.max(axis=1), out=piece.maximum[taken])
    piece.mean = pivot + sums / piece.count
    piece.squares = np.maximum(piece.squares - sums**2 / piece.count, 0.0)
    constant = piece.minimum == piece.maximum
    piece.mean[constant], piece.squares[constant] = piece.minimum[constant], 0.0
    return piece

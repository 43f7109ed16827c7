"""How far runs lie apart that differ in their seed alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from weather.study.fits.laws import Array
from weather.study.fits.observations import Indices


@dataclass(frozen=True)
class SeedNoise:
    """The pooled standard deviation of ln L within points that were trained more than once.

    Attributes:
        deviation: root of the sum of squares about each point's mean over the degrees of freedom.
        points, runs: how many points have repeats, and how many runs they have together.
    """

    deviation: float
    points: int
    runs: int

    @property
    def degrees_of_freedom(self) -> int:
        return self.runs - self.points


def seed_noise(loss: Array, points: Sequence[Indices]) -> SeedNoise | None:
    """Noise of a single run; None where no point was trained twice.

    Args:
        loss: of all runs, shape [run].
        points: indices of the runs of each point; those with one run say nothing.
    """
    repeated = [np.log(loss[index]) for index in points if len(index) > 1]
    if not repeated:
        return None
    runs = sum(len(values) for values in repeated)
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in repeated)
    return SeedNoise(float(np.sqrt(squares / (runs - len(repeated)))), len(repeated), runs)

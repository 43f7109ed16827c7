"""Finds steps whose loss stands out from those before."""

from __future__ import annotations

import collections
import math
from dataclasses import dataclass

WINDOW = 100  # steps that a loss is compared with
ENOUGH = 20  # steps before the first comparison: fewer have no dependable standard deviation


@dataclass(frozen=True)
class Spike:
    """A loss far above its predecessors.

    Attributes:
        mean, deviation: of the losses of the window before.
        sigmas: (loss - mean) / deviation.
    """

    loss: float
    mean: float
    deviation: float
    sigmas: float


class SpikeDetector:
    """Compares each loss with the mean and the standard deviation of the last `WINDOW` ones.

    A spike itself enters the window, so that a loss that stays high is told a few times and not for ever.

    Args:
        sigma: standard deviations above the mean from which a loss is a spike; 0: none is.
    """

    def __init__(self, sigma: float) -> None:
        self.sigma = sigma
        self._losses: collections.deque[float] = collections.deque(maxlen=WINDOW)

    def begin_anew(self) -> None:
        """Forget the losses so far: those that come are of something else."""
        self._losses.clear()

    def see(self, loss: float) -> Spike | None:
        """Take in the loss of the next step; gives a spike if it is one."""
        if self.sigma == 0 or not math.isfinite(loss):
            return None
        spike = None
        if len(self._losses) >= ENOUGH:
            mean = math.fsum(self._losses) / len(self._losses)
            squares = math.fsum((earlier - mean) ** 2 for earlier in self._losses)
            deviation = math.sqrt(squares / (len(self._losses) - 1))
            if deviation > 0 and loss > mean + self.sigma * deviation:
                spike = Spike(loss, mean, deviation, (loss - mean) / deviation)
        self._losses.append(loss)
        return spike

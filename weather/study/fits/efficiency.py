"""How well more ranks are used: speedup, efficiency, and the serial share behind them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from weather.errors import DataError

FEWEST_COUNTS = 3  # different numbers of ranks from which a serial share is fitted: two would fit any line


@dataclass(frozen=True)
class Efficiency:
    """Strong or weak scaling, relative to the fewest ranks that were measured.

    Attributes:
        ranks: [n] ascending, each once.
        samples_per_second: [n] of all ranks together, means over repeats.
        speedup: [n] of the throughput, 1 at the fewest ranks. In weak scaling this is the scaled speedup.
        efficiency: [n] speedup over the growth of the ranks; 1 is ideal.
        serial_share: of the time on one rank that more ranks do not shorten (Amdahl 1967); None in weak scaling, and
            below `FEWEST_COUNTS` numbers of ranks.
        seconds_per_sample: (serial, divided by the ranks) of the fit behind it, in seconds; None where there is none.
    """

    ranks: np.ndarray
    samples_per_second: np.ndarray
    speedup: np.ndarray
    efficiency: np.ndarray
    serial_share: float | None
    seconds_per_sample: tuple[float, float] | None

    def samples_per_second_at(self, ranks: float) -> float | None:
        """Throughput that the fit gives for any number of ranks; None where there is no fit."""
        if self.seconds_per_sample is None:
            return None
        serial, divided = self.seconds_per_sample
        return 1.0 / (serial + divided / ranks)


def scaling_efficiency(ranks: np.ndarray, samples_per_second: np.ndarray, *, weak: bool = False) -> Efficiency:
    """Efficiency of measured runs.

    The time a sample takes on p ranks is t(p) = serial + divided / p (Amdahl 1967, "Validity of the single processor
    approach to achieving large scale computing capabilities"), fitted by least squares of relative errors with both
    parts at least 0.

    Args:
        ranks: [n] of each run; a number may come up again.
        samples_per_second: [n] of all its ranks together.
        weak: whether the batch grew with the ranks; in strong scaling it stayed.

    Raises:
        DataError: fewer than two numbers of ranks, or rates that are no rates.
    """
    ranks, rates = np.asarray(ranks, np.float64), np.asarray(samples_per_second, np.float64)
    if ranks.shape != rates.shape or ranks.ndim != 1:
        raise DataError(f"{ranks.size} numbers of ranks with {rates.size} rates", rule="one rate a run")
    if not (np.isfinite(rates).all() and (rates > 0).all() and (ranks >= 1).all()):
        raise DataError("a rate or a number of ranks that is none", rule="at least 1 rank, more than 0 samples/s")
    counts, which = np.unique(ranks, return_inverse=True)
    if counts.size < 2:
        raise DataError(
            f"all runs have {counts[0]:g} rank(s)" if counts.size else "no runs",
            rule="efficiency compares numbers of ranks",
            fix="measure at least two: weather.scaling run --scale_types devices",
        )
    means = np.array([rates[which == index].mean() for index in range(counts.size)])
    speedup = means / means[0]
    parts = None if weak or counts.size < FEWEST_COUNTS else _amdahl(ranks, rates)
    return Efficiency(
        ranks=counts,
        samples_per_second=means,
        speedup=speedup,
        efficiency=speedup / (counts / counts[0]),
        serial_share=None if parts is None else parts[0] / sum(parts),
        seconds_per_sample=parts,
    )


def _amdahl(ranks: np.ndarray, rates: np.ndarray) -> tuple[float, float]:
    # Each row is divided by the measured time, so that all relative errors count alike.
    parts, _ = nnls(np.stack([rates, rates / ranks], axis=1), np.ones(len(rates)))
    return float(parts[0]), float(parts[1])

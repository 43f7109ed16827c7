"""How often intervals over correlated initial times hold the truth: ``python -m tests.verification.coverage``.

Each series is a first-order autoregressive process with a memory (lag-one autocorrelation) of its own; in a hard case,
half of its variance is noise without memory beside it. Exponentials of such series stand for squared errors over
initial times, whose RMSE is known. Ten series share the length of their blocks, as the channels of a scorecard do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from weather.verification.bootstrap import block_length, score_bounds

CHANNELS = 10  # series that share a length of blocks
LEVEL = 0.9
COUNTS = (12, 20, 60, 200)
#: Memory of a series, and the share of its variance that has it.
PROCESSES = ((0.0, 1.0), (0.5, 1.0), (0.8, 1.0), (0.9, 1.0), (0.9, 0.5))
ROUGHNESS = 0.5  # standard deviation of the logarithm of a squared error
SHARED = 0.9  # of the variance, by both of a pair: some days are hard for all
HARDER = 1.1  # squared error of the second of a pair, relative to the first


@dataclass(frozen=True)
class Case:
    """Series [T, N], each with its score, and what that is in truth."""

    series: tuple[np.ndarray, ...]
    score: Callable[..., np.ndarray]
    truth: float


class Process:
    """Draws series with mean 0 and variance 1."""

    def __init__(self, count: int, memory: float, share: float, seed: int) -> None:
        self.count, self.memory, self.share = count, memory, share
        self.generator = np.random.default_rng(seed)

    def draw(self, series: int) -> np.ndarray:
        """[count, series]."""
        slow = autoregressive(series, self.count, self.memory, self.generator)
        if self.share == 1:
            return slow
        noise = self.generator.standard_normal(slow.shape)
        return math.sqrt(self.share) * slow + math.sqrt(1 - self.share) * noise


def autoregressive(series: int, count: int, memory: float, generator: np.random.Generator) -> np.ndarray:
    """[count, series] of AR(1) with mean 0 and variance 1."""
    values = generator.standard_normal((count, series))
    for step in range(1, count):
        values[step] = memory * values[step - 1] + math.sqrt(1 - memory**2) * values[step]
    return values


def mean_case(process: Process, series: int) -> Case:
    """A mean, such as a bias."""
    return Case((process.draw(series),), lambda mean: mean, 0.0)


def rmse_case(process: Process, series: int) -> Case:
    """A root of a mean of squared errors."""
    return Case((np.exp(ROUGHNESS * process.draw(series)),), np.sqrt, math.exp(ROUGHNESS**2 / 4))


def difference_case(process: Process, series: int) -> Case:
    """A difference of two RMSE of the same times."""
    shared, *own = (process.draw(series) for _ in range(3))
    logs = [math.sqrt(SHARED) * shared + math.sqrt(1 - SHARED) * each for each in own]
    pair = (np.exp(ROUGHNESS * logs[0]), HARDER * np.exp(ROUGHNESS * logs[1]))
    truth = math.exp(ROUGHNESS**2 / 4) * (1 - math.sqrt(HARDER))
    return Case(pair, lambda ours, theirs: np.sqrt(ours) - np.sqrt(theirs), truth)


CASES = {"mean": mean_case, "RMSE": rmse_case, "difference of RMSE": difference_case}


def measure(case: Case) -> tuple[float, float]:
    """Share of the intervals that hold the truth, and their median width, relative to that of the scores themselves."""
    groups = np.arange(case.series[0].shape[1]).reshape(-1, CHANNELS)
    lengths = np.array([block_length(case.series[0][:, group]) for group in groups])
    low, high = np.empty(groups.size), np.empty(groups.size)
    for length in np.unique(lengths):  # as many at once as possible
        columns = groups[lengths == length].ravel()
        low[columns], high[columns] = score_bounds(
            [values[:, columns] for values in case.series],
            case.score,
            length=int(length),
            replicates=1000,
            coverage=LEVEL,
        )
    scores = case.score(*(values.mean(axis=0) for values in case.series))
    true_width = float(np.subtract(*np.quantile(scores, [(1 + LEVEL) / 2, (1 - LEVEL) / 2])))
    return float(((low <= case.truth) & (case.truth <= high)).mean()), float(np.median(high - low)) / true_width


def main(series: int = 2000) -> None:
    """Print the table."""
    doubt = 100 * math.sqrt(LEVEL * (1 - LEVEL) / series)
    print(f"percent of {series} intervals of {LEVEL:.0%} that hold the truth (standard error by chance {doubt:.1f}),")
    print("in brackets their median width, relative to how far the scores themselves scatter")
    for name, make in CASES.items():
        heads = [f"memory {memory:g}" if share == 1 else f"half of {memory:g}" for memory, share in PROCESSES]
        print(f"\n{name:20s}" + "".join(f"{head:>14s}" for head in heads))
        for count in COUNTS:
            found = [measure(make(Process(count, *process, seed=count), series)) for process in PROCESSES]
            cells = [f"{100 * share:.1f} ({width:.2f})" for share, width in found]
            print(f"{count:5d} initial times " + "".join(f"{cell:>14s}" for cell in cells))


if __name__ == "__main__":
    main()

"""Block bootstrap over initial times: how far a mean over correlated forecasts may be off.

Forecasts from neighbouring initial times err alike, so blocks of them are resampled, not single ones. A score's bounds
are percentiles of its resamples. Few blocks vary too little, and none of them shows a memory as long as itself; so
bounds are stretched about the score until half their distance is that of a t interval, whose standard error is the
larger one of the blocks and of a first-order autoregressive process with the lag-one autocorrelation of the score.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

import numpy as np

from weather.runtime.seeds import derive_seed

LONGER = 2  # blocks than are best for a variance: for intervals, the bias of short blocks costs more than noise
#: Fewest initial times that an interval is made from: a resample of fewer says little about others.
FEWEST = 10
LEAST_BLOCKS = 3  # independent pieces that a series is taken to have at least
SIGNIFICANT = 2.0  # times sqrt(log10(n) / n): autocorrelations below count as none (Politis & White 2004)


def block_length(series: np.ndarray) -> int:
    """Block length of a circular block bootstrap of the mean, from the autocorrelation of the data.

    Twice the automatic choice of Politis & White (2004), as corrected by Patton, Politis & White (2009): the median of
    that of all series. At most a third of the series.

    Args:
        series: [time, number]; those that are constant or not finite do not count.
    """
    count = len(series)
    longest = max(1, count // LEAST_BLOCKS)
    lengths = [_optimal_length(values) for values in series.T if np.isfinite(values).all() and np.ptp(values) > 0]
    return int(np.clip(round(LONGER * float(np.median(lengths))), 1, longest)) if lengths else 1


def _optimal_length(values: np.ndarray) -> float:
    count = len(values)
    centred = values - values.mean()
    enough = max(5, round(math.sqrt(math.log10(count))))  # so many small autocorrelations in a row end the search
    last = min(count - 1, math.ceil(math.sqrt(count)) + enough)
    covariance = np.array([centred[lag:] @ centred[: count - lag] for lag in range(last + 1)]) / count
    small = np.abs(covariance[1:] / covariance[0]) < SIGNIFICANT * math.sqrt(math.log10(count) / count)
    runs = [lag for lag in range(last - enough + 1) if small[lag : lag + enough].all()]
    significant = np.flatnonzero(~small)
    reach = runs[0] if runs else int(significant[-1]) + 1 if significant.size else 0
    width = min(2 * max(reach, 1), last)
    lags = np.arange(-width, width + 1)
    # A trapezoid: 1 up to half the width, falling to 0 at it.
    taper = np.clip(2 * (1 - np.abs(lags) / width), 0.0, 1.0)
    weighted = taper * covariance[np.abs(lags)]
    spectrum = weighted.sum()
    if spectrum <= 0:
        return 1.0
    slope = (np.abs(lags) * weighted).sum()
    return float((2 * slope**2 / (4 / 3 * spectrum**2)) ** (1 / 3) * count ** (1 / 3))


def resampling(count: int, length: int, replicates: int, seed: int) -> np.ndarray:
    """How often each of `count` times is in each resample [replicates, count]: circular blocks, cut to `count`.

    Politis & Romano (1992): the series is closed to a circle, so that every time is drawn equally often.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    blocks = -(-count // length)
    starts = generator.integers(0, count, size=(replicates, blocks))
    drawn = (starts[:, :, None] + np.arange(length)).reshape(replicates, -1)[:, :count] % count
    flat = drawn + count * np.arange(replicates)[:, None]
    return np.bincount(flat.ravel(), minlength=replicates * count).reshape(replicates, count).astype(np.float64)


def score_bounds(
    series: Sequence[np.ndarray],
    score: Callable[..., np.ndarray],
    *,
    length: int,
    replicates: int,
    coverage: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds (low, high), each [N], of scores of means over time; NaN for those with a value that is not finite.

    The percentiles are those of Politis & Romano (1992), stretched for few blocks as Hesterberg (2015, section 3.4)
    widens them: t distribution, and sqrt(k / (k - 1)), as resamples of k blocks vary by that too little.

    Args:
        series: one or more, each [T, N] in the order of time; the same resamples are drawn for all.
        score: of their means over time, each [..., N].
        length: of a block.
    """
    count, normal = len(series[0]), statistics.NormalDist().inv_cdf((1 + coverage) / 2)
    weights = resampling(count, length, replicates, derive_seed(0, "bootstrap", length)) / count
    with np.errstate(invalid="ignore", divide="ignore"):  # of values that are not finite
        means = [values.mean(axis=0) for values in series]
        without_one = [(count * mean - values) / (count - 1) for mean, values in zip(means, series, strict=True)]
        estimate = score(*means)
        influence = (count - 1) * (estimate - score(*without_one))
        resampled = score(*(_weighted_means(weights, values) for values in series))
        low, high = np.quantile(resampled, [(1 - coverage) / 2, (1 + coverage) / 2], axis=0)
        spread, blocks = resampled.std(axis=0), count / length
        by_blocks = spread * math.sqrt(blocks / (blocks - 1)) * t_quantile(normal, blocks - 1)
        half_width = np.fmax(by_blocks, _half_width_of_autoregression(influence, normal))
        stretch = np.where(spread > 0, half_width / (normal * spread), 1.0)
        return estimate + stretch * (low - estimate), estimate + stretch * (high - estimate)


def _weighted_means(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Means [replicate, N] of resamples of values [T, N]; NaN throughout where a value is not finite."""
    finite = np.isfinite(values).all(axis=0)
    return np.where(finite, weights @ np.where(finite, values, 0.0), np.nan)


def _half_width_of_autoregression(influence: np.ndarray, normal: float) -> np.ndarray:
    """Half a t interval [N] of a score if the influence [T, N] of each time on it is an AR(1) process.

    As many independent times say as much as n (1 - r) / (1 + r) (Zwiers & von Storch 1995), at most n. The lag-one
    autocorrelation r of a short series is too low by (1 + 4 r) / n (Marriott & Pope 1954), which is given back.
    """
    count = len(influence)
    centred = influence - influence.mean(axis=0)
    square = np.square(centred).sum(axis=0)
    found = (centred[1:] * centred[:-1]).sum(axis=0) / square
    memory = np.clip((count * found + 1) / (count - 4), 0.0, 1.0)
    independent = np.clip(count * (1 - memory) / (1 + memory), LEAST_BLOCKS, count)
    return np.asarray(np.sqrt(square / count / (independent - 1)) * t_quantile(normal, independent - 1))


def t_quantile(normal: float, freedom: np.ndarray | float) -> np.ndarray:
    """Quantile of the t distribution at the level of a quantile of the normal one.

    Its expansion (Abramowitz & Stegun 26.7.5); within 0.3 % for intervals of 90 % and two degrees of freedom or more.
    """
    z, f = normal, np.asarray(freedom, np.float64)
    return np.asarray(
        z
        + (z**3 + z) / (4 * f)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * f**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * f**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * f**4)
    )

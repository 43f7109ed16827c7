"""Block bootstrap over initial times: how far a mean over correlated forecasts may be off.

Forecasts from neighbouring initial times err alike, so blocks of them are resampled, not single ones.
"""

from __future__ import annotations

import math
import statistics

import numpy as np

LONGER = 2  # blocks than are best for a variance: for intervals, the bias of short blocks costs more than noise
#: Fewest initial times that an interval is made from: a resample of fewer says little about others.
FEWEST = 10
SIGNIFICANT = 2.0  # times sqrt(log10(n) / n): autocorrelations below count as none (Politis & White 2004)


def block_length(series: np.ndarray) -> int:
    """Block length of a circular block bootstrap of the mean, from the autocorrelation of the data.

    Twice the automatic choice of Politis & White (2004), as corrected by Patton, Politis & White (2009): the median of
    that of all series. At most a third of the series.

    Args:
        series: [time, number]; those that are constant or not finite do not count.
    """
    count = len(series)
    longest = max(1, count // 3)
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


def quantile_levels(coverage: float, count: int, length: int) -> tuple[float, float]:
    """Levels of the percentiles of resamples that bound an interval.

    Expanded percentiles (Hesterberg 2015, section 3.4): those of a t distribution in place of the normal one, and wider
    by sqrt(k / (k - 1)), as resamples of k things vary by that too little; k counts blocks here.
    """
    normal, blocks = statistics.NormalDist(), count / length
    z, freedom = normal.inv_cdf((1 + coverage) / 2), max(blocks - 1, 1.0)
    # Quantile of the t distribution by its expansion (Abramowitz & Stegun 26.7.5).
    t = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    tail = normal.cdf(-math.sqrt(blocks / max(blocks - 1, 1.0)) * t)
    return tail, 1 - tail

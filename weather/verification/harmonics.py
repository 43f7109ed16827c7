"""A climatology of few parameters, for archives that are too short for a window over the days of the year.

At each grid point the training states are fitted by least squares with a mean, two harmonics of the year (where the
training data span a year) and one of the day (where the time step resolves it).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from weather.data.archive import Archive, Split
from weather.data.order import stratified_subset
from weather.data.reader import StateReader
from weather.runtime.collectives import sum_over_ranks
from weather.runtime.ranks import Ranks

LARGEST_SAMPLE = 1460  # states read for the fit: 200 for each of seven coefficients, whatever the archive's size
ALONE = Ranks()
BLOCK_BYTES = 2**26  # of float64 fields in memory at once, unless one state is larger
DAYS_PER_YEAR = 365.2425


class HarmonicClimatology:
    """Coefficients [terms, channel, lat, lon] of the harmonics, in physical units."""

    def __init__(self, coefficients: np.ndarray, *, annual: bool, diurnal: bool) -> None:
        self.coefficients = coefficients
        self.annual, self.diurnal = annual, diurnal

    def at(self, time: np.ndarray | None, count: int) -> np.ndarray:
        """Fields [count, channel, lat, lon] float32 that are usual at times [count] (None: unknown)."""
        terms = harmonics(time, count, annual=self.annual, diurnal=self.diurnal)
        return np.tensordot(terms, self.coefficients, axes=1).astype(np.float32)

    def open(self, device: torch.device, *, batch_size: int, threads: int) -> HarmonicFields:
        """Its fields on a device; see `climatology.ClimatologyFields`."""
        return HarmonicFields(self, device)

    def describe(self) -> str:
        cycles = " and ".join(["season"] * self.annual + ["hour of day"] * self.diurnal)
        return "mean of the training states" + (f", by {cycles}" if cycles else "")


class HarmonicFields:
    """Sums the harmonics up on the device, where the coefficients stay."""

    def __init__(self, climatology: HarmonicClimatology, device: torch.device) -> None:
        self.climatology, self.device = climatology, device
        self.coefficients = torch.from_numpy(climatology.coefficients.astype(np.float32)).to(device)

    def batches(self, order: Iterable[tuple[np.ndarray | None, int]]) -> Iterator[torch.Tensor]:
        for time, count in order:
            terms = harmonics(time, count, annual=self.climatology.annual, diurnal=self.climatology.diurnal)
            factors = torch.from_numpy(terms.astype(np.float32)).to(self.device, non_blocking=True)
            # Term by term, for a matrix product may be rounded to TF32.
            fields = factors[:, 0, None, None, None] * self.coefficients[0]
            for term in range(1, len(self.coefficients)):
                fields.addcmul_(factors[:, term, None, None, None], self.coefficients[term])
            yield fields

    def close(self) -> None:
        del self.coefficients


def harmonics(time: np.ndarray | None, count: int, *, annual: bool, diurnal: bool) -> np.ndarray:
    """The fitted functions [count, terms] at times [count] datetime64[s]: 1, and cosines and sines of year and day."""
    columns = [np.ones(count)]
    if time is not None:
        days = time.astype("datetime64[s]").astype(np.int64) / 86400.0
        waves = [2 * np.pi * k / DAYS_PER_YEAR for k in (1, 2)] * annual + [2 * np.pi] * diurnal
        for frequency in waves:
            columns += [np.cos(frequency * days), np.sin(frequency * days)]
    return np.stack(columns, axis=1)


def fit_harmonics(archive: Archive, *, ranks: Ranks = ALONE, channels: int | None = None) -> HarmonicClimatology:
    """Fit the harmonics of an archive's training split; every rank reads its share and gets the whole.

    Args:
        channels: how many of the first channels; None: all.
    """
    split = archive.splits["train"]
    annual, diurnal = _resolved(split)
    chosen = stratified_subset(np.zeros(split.states, np.int64), min(1.0, LARGEST_SAMPLE / split.states))
    states = chosen[ranks.rank :: ranks.world_size]
    indices = archive.channel_indices[:channels]
    reader = StateReader(split, indices)
    terms = harmonics(
        split.time[states] if split.time is not None else None, len(states), annual=annual, diurnal=diurnal
    )
    block = max(1, BLOCK_BYTES // (8 * len(indices) * archive.grid[0] * archive.grid[1]))
    fields = np.empty((block, len(indices), *archive.grid), np.float32)
    # Least squares by its normal equations, which add up over blocks and ranks.
    products = np.zeros((terms.shape[1], fields[0].size))
    try:
        for begin in range(0, len(states), block):
            rows = slice(begin, min(begin + block, len(states)))
            piece = fields[: rows.stop - begin]
            reader.read(states[rows], piece)
            products += terms[rows].T @ piece.reshape(len(piece), -1).astype(np.float64)
    finally:
        reader.close()
    squares = sum_over_ranks(torch.from_numpy(terms.T @ terms)).numpy()
    sum_over_ranks(torch.from_numpy(products))
    # The pseudo-inverse serves also where all states fall on one hour, so that the daily wave is not determined.
    coefficients = (np.linalg.pinv(squares) @ products).reshape(-1, *fields.shape[1:])
    return HarmonicClimatology(coefficients, annual=annual, diurnal=diurnal)


def _resolved(split: Split) -> tuple[bool, bool]:
    """Whether the training states resolve the cycle of the year, and that of the day."""
    if split.time is None:
        return False, False
    days_of_year = (split.time - split.time.astype("datetime64[Y]")).astype("timedelta64[D]").astype(np.int64)
    months_seen = np.unique(days_of_year // 31).size
    return bool(months_seen >= 12), split.step_hours <= 6.0

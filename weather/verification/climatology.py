"""The climatology that a forecast must beat: what is usual at this place, season and hour.

At each grid point the training states are fitted by least squares with a mean, two harmonics of the year (where the
training data span a year) and one of the day (where the time step resolves it). Only training data are used:
a climatology that has seen the evaluated states would be a leak.
"""

from __future__ import annotations

import numpy as np

from weather.data.archive import Archive, Split
from weather.data.order import stratified_subset
from weather.data.reader import StateReader

LARGEST_SAMPLE = 4096  # states read for the fit: many times what seven coefficients need, whatever the archive's size
DAYS_PER_YEAR = 365.2425


class Climatology:
    """Coefficients [terms, channel, lat, lon] of the harmonics, in physical units."""

    def __init__(self, coefficients: np.ndarray, *, annual: bool, diurnal: bool) -> None:
        self.coefficients = coefficients
        self.annual, self.diurnal = annual, diurnal

    def at(self, time: np.ndarray | None, count: int) -> np.ndarray:
        """Fields [count, channel, lat, lon] float32 that are usual at times [count] (None: unknown)."""
        terms = harmonics(time, count, annual=self.annual, diurnal=self.diurnal)
        return np.tensordot(terms, self.coefficients, axes=1).astype(np.float32)

    def describe(self) -> str:
        parts = ["mean"] + ["season"] * self.annual + ["hour of day"] * self.diurnal
        return ", ".join(parts) + " of the training states"


def harmonics(time: np.ndarray | None, count: int, *, annual: bool, diurnal: bool) -> np.ndarray:
    """The fitted functions [count, terms] at times [count] datetime64[s]: 1, and cosines and sines of year and day."""
    columns = [np.ones(count)]
    if time is not None:
        days = time.astype("datetime64[s]").astype(np.int64) / 86400.0
        waves = [2 * np.pi * k / DAYS_PER_YEAR for k in (1, 2)] * annual + [2 * np.pi] * diurnal
        for frequency in waves:
            columns += [np.cos(frequency * days), np.sin(frequency * days)]
    return np.stack(columns, axis=1)


def fit_climatology(archive: Archive) -> Climatology:
    """Fit the climatology of an archive's training split, one state in memory at a time."""
    split = archive.splits["train"]
    annual, diurnal = _resolved(split)
    strata = np.zeros(split.states, np.int64)
    states = stratified_subset(strata, min(1.0, LARGEST_SAMPLE / split.states))
    reader = StateReader(split, archive.channel_indices)
    field = np.empty((1, len(archive.channels), *archive.grid), np.float32)
    times = split.time[states] if split.time is not None else None
    terms = harmonics(times, len(states), annual=annual, diurnal=diurnal)
    sums = np.zeros((terms.shape[1], field.size))
    try:
        for row, state in enumerate(states):
            reader.read(np.array([state]), field)
            sums += terms[row][:, None] * field.reshape(1, -1).astype(np.float64)
    finally:
        reader.close()
    # The pseudo-inverse serves also where all states fall on one hour, so that the daily wave is not determined.
    coefficients = np.linalg.pinv(terms.T @ terms) @ sums
    return Climatology(coefficients.reshape(-1, *field.shape[1:]), annual=annual, diurnal=diurnal)


def _resolved(split: Split) -> tuple[bool, bool]:
    """Whether the training states resolve the cycle of the year, and that of the day."""
    if split.time is None:
        return False, False
    days_of_year = (split.time - split.time.astype("datetime64[Y]")).astype("timedelta64[D]").astype(np.int64)
    months_seen = np.unique(days_of_year // 31).size
    return bool(months_seen >= 12), split.step_hours <= 6.0

"""Which training states tell what is usual on a day of the year at an hour: a window over days, as WeatherBench 2.

Days of the year count from 1 to 366 and close to a circle. A state weighs 1 - d / 30 where it is d days from the day
wanted, 0 from 30 days on: 61 days with the ends (WeatherBench 2, utils.create_window_weights). In a year without
29 February the state of day 365 counts as that of day 366 too (utils.compute_rolling_stat), also where no training
year has a day 366: WeatherBench 2 then has none, and a circle of 365 days. Other days that a year lacks just do not
count there; WeatherBench 2 fills them with day 365 of that year, 31 December in the gap of a summer.

Hours of the day are kept apart where the time step repeats them; where it does not (steps of 7 and 8 hours), states go
to the nearest of as many equal hours as there are steps a day. Where fewer than eight states have weight, the window of
that day and hour is widened to 121 days; if that is not enough, there is no climatology by day of year.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DAYS = 366
HALF_WIDTH = 30  # days from which on a state has no weight
WIDER = 60
FEWEST_STATES = 8  # a mean of fewer has a standard error of more than a third of the spread
DAY_SECONDS = 86400


@dataclass(frozen=True, eq=False)
class Window:
    """The windows of an archive's training states.

    Attributes:
        hours: [H] seconds since 00 UTC that are kept apart, rising.
        exact: whether all training states are at these hours.
        half_widths: [H, 366] days, of each window.
        counts: [H, 366] training states, those that count for two days twice.
    """

    hours: np.ndarray
    exact: bool
    half_widths: np.ndarray
    counts: np.ndarray

    def slots(self, time: np.ndarray) -> np.ndarray:
        """Which day and hour, hour * 366 + day - 1, serve for times [count] datetime64[s]."""
        return np.asarray(nearest_hours(time, self.hours) * DAYS + days_of_year(time) - 1)

    def weights(self, hour: int) -> np.ndarray:
        """Weight [day wanted, day of a state] of single states at one of the hours, so that the mean adds up to 1."""
        distance = np.abs(np.arange(DAYS)[:, None] - np.arange(DAYS))
        distance = np.minimum(distance, DAYS - distance)
        weights = np.clip(1 - distance / self.half_widths[hour][:, None], 0.0, None)
        return np.asarray(weights / (weights @ self.counts[hour])[:, None])

    def describe(self) -> str:
        """The window in words."""
        clock = ", ".join(
            f"{int(s) // 3600:02}" + (f":{int(s) % 3600 // 60:02}" if s % 3600 else "") for s in self.hours
        )
        wider = int((self.half_widths > HALF_WIDTH).sum())
        widest = f", of {2 * WIDER + 1} days for {wider} of {self.half_widths.size} means" if wider else ""
        how = f"window of {2 * HALF_WIDTH + 1} days{widest}"
        if len(self.hours) == 1:
            return f"season (means by day of year, {how})"
        return f"season and hour of day (means by day of year at {'' if self.exact else 'nearly '}{clock} UTC, {how})"


def plan_window(time: np.ndarray, step_hours: float) -> Window | None:
    """The windows of training states at times [states] datetime64[s]; None: too few for one by day of year."""
    hours, exact = _hours(time, step_hours)
    bins, days = nearest_hours(time, hours), days_of_year(time)
    counts = np.zeros((len(hours), DAYS))
    np.add.at(counts, (bins, days - 1), 1)
    twice = doubled(time)
    np.add.at(counts, (bins[twice], np.full(twice.sum(), DAYS - 1)), 1)
    half_widths = np.zeros((len(hours), DAYS), np.int64)
    for half_width in (HALF_WIDTH, WIDER):
        reached = np.arange(-half_width + 1, half_width)
        held = sum(np.roll(counts, shift, axis=1) for shift in reached)
        half_widths[(half_widths == 0) & (held >= FEWEST_STATES)] = half_width
    return Window(hours, exact, half_widths, counts) if half_widths.all() else None


def days_of_year(time: np.ndarray) -> np.ndarray:
    """Days [count], 1 on 1 January."""
    return (time.astype("datetime64[D]") - time.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64) + 1


def doubled(time: np.ndarray) -> np.ndarray:
    """Which states [count] are of day 365 of a year without 366th, and stand for that too."""
    next_day = time.astype("datetime64[D]") + 1
    return np.asarray((days_of_year(time) == DAYS - 1) & (days_of_year(next_day) == 1))


def nearest_hours(time: np.ndarray, hours: np.ndarray) -> np.ndarray:
    """Number [count] of the hour that is nearest on the clock."""
    distance = np.abs(_seconds_of_day(time)[:, None] - hours)
    return np.argmin(np.minimum(distance, DAY_SECONDS - distance), axis=1)


def _seconds_of_day(time: np.ndarray) -> np.ndarray:
    return (time.astype("datetime64[s]") - time.astype("datetime64[D]")).astype(np.int64)


def _hours(time: np.ndarray, step_hours: float) -> tuple[np.ndarray, bool]:
    steps_a_day = max(1, round(24 / step_hours))
    found = np.unique(_seconds_of_day(time))
    if len(found) <= steps_a_day:
        return found, True
    return np.arange(steps_a_day) * DAY_SECONDS // steps_a_day, False

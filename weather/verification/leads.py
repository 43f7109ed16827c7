"""Lead times: how they are written, and which a model reaches by forecasting from its own forecast."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from weather.data.archive import Split
from weather.data.loader import Samples
from weather.errors import ConfigError, DataError

HOURS = {"h": 1.0, "d": 24.0}
WHOLE = 1e-4  # by so much, relatively, a lead may miss a whole number of steps: it is written with few digits


@dataclass(frozen=True)
class ModelStep:
    """What a model's forecast takes and gives.

    Attributes:
        step_hours: time step of the archive; dt: time steps that one forecast covers.
        sequence_length: consecutive states that it is made from.
        input_channels, output_channels: of these states, and of the forecast.
    """

    step_hours: float
    dt: int
    sequence_length: int
    input_channels: int
    output_channels: int

    @property
    def hours(self) -> float:
        """The model's own lead."""
        return self.step_hours * self.dt

    def steps(self, leads: Sequence[float]) -> tuple[int, ...]:
        """Forecasts in a row that reach each lead, rising, each once.

        Args:
            leads: hours.

        Raises:
            ConfigError: a lead between the model's steps, or one that needs what the model does not forecast.
        """
        counts = sorted({self._count(hours) for hours in leads})
        if counts[-1] > 1:
            self._refuse_feedback(counts[-1])
        return tuple(counts)

    def _count(self, hours: float) -> int:
        count = hours / self.hours
        if is_whole(count):
            return round(count)
        nearest = [self.hours * whole for whole in (math.floor(count), math.ceil(count)) if whole]
        raise ConfigError(
            f"a lead of {describe_lead(hours)}",
            where="--leads",
            rule=f"the model forecasts {describe_lead(self.hours)} at once, so a lead is a multiple of that",
            fix=f"nearest: {' or '.join(map(describe_lead, nearest))}",
        )

    def _refuse_feedback(self, count: int) -> None:
        obstacle = self.feedback_obstacle()
        if obstacle is not None:
            what, rule = obstacle
            raise ConfigError(
                what,
                where=f"--leads {describe_lead(self.hours * count)}",
                rule=rule,
                fix=f"ask for {describe_lead(self.hours)} only",
            )

    def feedback_obstacle(self) -> tuple[str, str] | None:
        """Why the model cannot forecast from its own forecast, and the rule that forbids it; None: it can."""
        if self.output_channels != self.input_channels:
            return (
                f"the model forecasts {self.output_channels} of its {self.input_channels} channels",
                "a forecast from a forecast needs all channels that the model sees",
            )
        if self.sequence_length > 1 and self.dt > 1:
            return (
                f"the model sees {self.sequence_length} consecutive states and forecasts {self.dt} steps ahead",
                "a forecast from a forecast needs the states between them: sequence_length 1, or dt 1",
            )
        return None


def is_whole(count: float) -> bool:
    """Whether a lead over a step, both written with few digits, is meant to be a whole number of them, from 1."""
    return round(count) >= 1 and abs(count - round(count)) <= WHOLE * count


def parse_leads(text: str, option: str = "--leads") -> tuple[float, ...]:
    """Hours of leads written as `6h,1d,3d`.

    Raises:
        ConfigError: something else is written.
    """
    words = [word.strip() for word in text.split(",")]
    found = [re.fullmatch(r"(\d+(?:\.\d+)?)([hd])", word) for word in words]
    hours = [float(each[1]) * HOURS[each[2]] if each else 0.0 for each in found]
    if not all(hours):
        wrong = words[hours.index(0.0)]
        raise ConfigError(
            f"'{wrong}' is no lead",
            where=f"{option} {text}",
            rule="hours or days, separated by commas, such as 6h,1d,3d",
        )
    return tuple(hours)


def parse_lead(text: str, option: str) -> float:
    """Hours of one lead.

    Raises:
        ConfigError: something else is written, or several.
    """
    hours = parse_leads(text, option)
    if len(hours) > 1:
        raise ConfigError(f"{option} {text} names {len(hours)} leads", rule="it takes one, such as 12h")
    return hours[0]


def describe_lead(hours: float) -> str:
    """A lead as it is written: `6h`, `36h`, `3d`."""
    return f"{hours / 24:g}d" if hours % 24 == 0 else f"{hours:g}h"


def describe_initial_times(times: np.ndarray) -> str:
    """How many, and from when to when."""
    first, last = (str(np.datetime64(time, "h")) for time in (times.min(), times.max()))
    return f"{len(times)} initial times, {first} to {last}" if len(times) > 1 else f"1 initial time, {first}"


def uneven_steps(split: Split) -> str | None:
    """What leads are where states are not equally far apart; None: they are."""
    shortest, longest = split.step_range_hours()
    if longest - shortest < WHOLE * split.step_hours:
        return None
    return (
        f"states of the archive are {shortest:g} to {longest:g} h apart: leads count states, "
        f"each as {split.step_hours:g} h"
    )


def initial_samples(split: Split, model: ModelStep, longest: int) -> Samples:
    """The samples whose longest lead has truth, so that all leads are verified from the same initial times.

    No state is missing on the way, and all are of this split: WeatherBench 2 asks for truth at each lead alone, and
    takes that of the next year too.

    Args:
        longest: forecasts in a row.

    Raises:
        ConfigError: no initial time has truth for so long, but one has for the model's own lead.
        DataError: none has even for that.
    """
    try:
        starts = split.starts(model.sequence_length, model.dt * longest)
    except DataError as error:
        split.starts(model.sequence_length, model.dt)
        breaks = np.flatnonzero(~split.consecutive)
        states = np.diff([-1, *breaks, split.states - 1]).max()
        reached = (states - model.sequence_length) // model.dt
        raise ConfigError(
            f"--leads {describe_lead(model.hours * longest)}: no initial time of the split '{split.name}' has truth so "
            "long after it",
            rule=f"its longest run of states without a gap has {states}",
            fix=f"the longest lead possible is {describe_lead(model.hours * reached)}",
        ) from error
    return Samples(split, starts, model.sequence_length, model.dt)


def choose_initial_times(samples: Samples, every: float | None, most: int | None) -> Samples:
    """Some of the samples: those whose newest input state comes at a multiple of some hours, and of these at most some.

    Args:
        every: hours, such as 12 for 00 and 12 UTC, counted from 00 UTC of 1 January 1970; without time stamps, from
            the first sample. None: all.
        most: how many, evenly spread from first to last; None: all.

    Raises:
        ConfigError: none is left.
    """
    split, chosen = samples.split, samples.starts
    if every is not None:
        newest = chosen + samples.sequence_length - 1
        if split.time is None:
            hours = (chosen - chosen[0]) * split.step_hours
        else:
            hours = split.time[newest].astype("datetime64[s]").astype(np.int64) / 3600.0
        chosen = chosen[np.isclose(hours % every, 0.0) | np.isclose(hours % every, every)]
        if not chosen.size:
            raise ConfigError(
                f"--init_every {describe_lead(every)}: none of the {len(samples)} initial times of the split "
                f"'{split.name}' is at such an hour",
                rule="initial times at multiples of it, counted from 1970-01-01T00, are verified",
                fix="leave it out, and choose with --most how many are verified",
            )
    if most is not None and most < len(chosen):
        chosen = chosen[np.unique(np.linspace(0, len(chosen) - 1, most).round().astype(np.int64))]
    return Samples(split, chosen, samples.sequence_length, samples.dt)

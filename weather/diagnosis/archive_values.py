"""Judges the values of an archive: finite, plausible for the variable's name, in the right channel, as the statistics
say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from weather.data.statistics import Statistics, read_statistics
from weather.diagnosis.archive_survey import ChannelSurvey, Survey
from weather.diagnosis.envelopes import Envelope, envelope, to_standard, variable
from weather.diagnosis.findings import Section, Severity
from weather.errors import DataError

FEW_OUTSIDE = 0.01  # share of values beyond the bounds, above which the channel is something else
HUGE = 1e15  # no variable has such values in any unit; fill values do (9.97e36 of netCDF, 1e20)
ORDER_TOLERANCE = {"t": 2.0, "z": 0.0}  # of the means of levels
WARMEST_ORDERED = 250  # hPa; above, temperature rises again with height
ROUND_THE_WORLD = 300.0  # degrees of longitude that make a mean over longitudes a zonal mean
# How far recomputed statistics may be from the stored ones: (warning, error), of samples and of all states.
MEAN_LIMITS = {False: (0.25, 1.0), True: (0.02, 0.2)}  # standard deviations
STD_LIMITS = {False: (1.25, 2.0), True: (1.02, 1.1)}  # ratio, either way


def judge_values(section: Section, found: Survey, selected: Sequence[str], longitude: np.ndarray) -> None:
    """Ranges, values that are not finite, and channels that seem to be others."""
    for channel in found.channels:
        _judge_finite(section, channel, channel.name in selected)
    strange = [channel for channel in found.channels if channel.everywhere.count and _strange(channel)]
    for channel in found.channels:
        if channel.everywhere.count:
            _judge_range(section, channel, strange)
    unknown = [channel.name for channel in found.channels if _standard(channel) is None]
    if unknown:
        section.find(
            Severity.NOTE,
            "data.unknown_variable",
            f"channels whose name or unit is not known, so that their ranges were not judged: {', '.join(unknown)}",
            "name them as ERA5 does: t2m, u10, z500, ..., with units such as 'm s-1'",
        )
    _judge_levels(section, found.channels)
    if np.ptp(longitude) >= ROUND_THE_WORLD:
        _judge_winds(section, found.channels)


def _judge_finite(section: Section, channel: ChannelSurvey, selected: bool) -> None:
    if channel.nonfinite:
        section.find(
            Severity.ERROR if selected else Severity.NOTE,
            "data.nonfinite",
            f"channel '{channel.name}' has {channel.nonfinite} values that are not finite in "
            f"{channel.nonfinite_states} of the states read, the first in {channel.first_nonfinite}",
            "fill or drop them, or leave the channel out (data.channels)",
        )
    if channel.everywhere.count and channel.low == channel.high:
        section.find(
            Severity.WARNING, "data.constant", f"channel '{channel.name}' is {channel.low:g} everywhere",
            "leave it out (data.channels): there is nothing to forecast",
        )  # fmt: skip


def _standard(channel: ChannelSurvey) -> tuple[Envelope, float, float, float] | None:
    """Envelope, and low, high, mean of the channel in its unit; None where name or unit are not known."""
    known = variable(channel.name)
    conversion = None if known is None else to_standard(known, channel.unit)
    if known is None or conversion is None:
        return None
    factor, offset = conversion
    low, high, mean = (factor * value + offset for value in (channel.low, channel.high, channel.mean))
    return envelope(known), low, high, mean


def _strange(channel: ChannelSurvey) -> bool:
    """Whether the channel is something else than its name says."""
    standard = _standard(channel)
    if standard is None:
        return False
    bounds, _, _, mean = standard
    return channel.outside > FEW_OUTSIDE * channel.values or not bounds.mean_low <= mean <= bounds.mean_high


def _fits(channel: ChannelSurvey, other: ChannelSurvey) -> bool:
    """Whether the values of a channel could be those of another's name."""
    known = variable(other.name)
    if known is None:
        return False
    bounds = envelope(known)
    inside = bounds.low <= channel.low and channel.high <= bounds.high
    return inside and bounds.mean_low <= channel.mean <= bounds.mean_high


def _judge_range(section: Section, channel: ChannelSurvey, strange: Sequence[ChannelSurvey]) -> None:
    standard = _standard(channel)
    if max(abs(channel.low), abs(channel.high)) > HUGE:
        section.find(
            Severity.ERROR,
            "data.range",
            f"channel '{channel.name}' has values from {channel.low:g} to {channel.high:g}: fill values are among them",
            "replace fill values by what was meant, and compute the statistics again",
        )
        return
    if standard is None:
        return
    bounds, low, high, mean = standard
    if channel not in strange and not channel.outside:
        return
    unit = bounds.units[0]
    what = (
        f"channel '{channel.name}' is from {low:.5g} to {high:.5g}, mean {mean:.5g} {unit}; such a variable is from "
        f"{bounds.low:.5g} to {bounds.high:.5g}, mean {bounds.mean_low:.5g} to {bounds.mean_high:.5g} {unit}"
    )
    if channel not in strange:
        section.find(
            Severity.WARNING,
            "data.range",
            f"{what}; {channel.outside} of {channel.values} values are outside, the first in {channel.first_outside}",
            "look at them: fill values, or a damaged state",
        )
        return
    others = [other.name for other in strange if other is not channel and _fits(channel, other)]
    if others:
        section.find(
            Severity.ERROR,
            "data.swapped",
            f"{what}; it looks like '{others[0]}', which does not look like itself: the channels are swapped",
            "put the names into the order of the fields, and compute the statistics again",
        )
        return
    section.find(
        Severity.ERROR, "data.range", what, "see what the channel is, and in which unit; name it, or convert it again"
    )


def _judge_levels(section: Section, channels: Sequence[ChannelSurvey]) -> None:
    """Means of geopotential and temperature are in the order of the levels."""
    for kind, tolerance in ORDER_TOLERANCE.items():
        levels = []
        for channel in channels:
            known, standard = variable(channel.name), _standard(channel)
            if known is None or standard is None or known.kind != kind or known.level is None or _strange(channel):
                continue
            if kind == "z" or known.level >= WARMEST_ORDERED:
                levels.append((known.level, standard[3] if kind == "t" else -standard[3], channel.name))
        levels.sort()
        for (_, above, name), (_, below, next_name) in zip(levels[:-1], levels[1:], strict=True):
            if below < above - tolerance:
                section.find(
                    Severity.ERROR,
                    "data.swapped",
                    f"the means of '{name}' ({abs(above):.5g}) and '{next_name}' ({abs(below):.5g}) are in the wrong "
                    "order for their levels: the channels are swapped",
                    "put the names into the order of the fields, and compute the statistics again",
                )


def _judge_winds(section: Section, channels: Sequence[ChannelSurvey]) -> None:
    """The zonal mean of the meridional wind is small, that of the zonal wind is not (Peixoto & Oort 1992, ch. 7)."""
    by_variable = {variable(channel.name): channel for channel in channels}
    for known, zonal in by_variable.items():
        if known is None or not known.kind.startswith("u"):
            continue
        meridional = by_variable.get(type(known)("v" + known.kind[1:], known.level))
        if meridional is None or not (zonal.everywhere.count and meridional.everywhere.count):
            continue
        u, v = (float(np.sqrt(np.nanmean(channel.zonal_mean**2))) for channel in (zonal, meridional))
        if v > 2 * u and v > 1.0:
            section.find(
                Severity.ERROR,
                "data.swapped",
                f"the mean over longitudes of '{meridional.name}' is {v:.1f} m/s, of '{zonal.name}' {u:.1f} m/s (root "
                "mean square): zonal and meridional wind are swapped",
                "put the names into the order of the fields, and compute the statistics again",
            )


def statistics_section(data_dir: Path, found: Survey, channels: tuple[str, ...], *, full: bool) -> Section:
    """Stored statistics beside those of the training states read."""
    columns = ("channel", "unit", "min", "max", "mean", "stored_mean", "mean_off_by_stds", "std", "stored_std",
               "std_ratio", "nonfinite")  # fmt: skip
    section = Section("variables", columns=columns)
    section.facts.update(states_read=found.states, states=found.all_states, training_states_read=found.training_states)
    stored: Statistics | None = None
    try:
        stored = read_statistics(data_dir, channels)
    except DataError as error:
        section.find(Severity.ERROR, "data.statistics", str(error), "compute the statistics of the training split")
    for index, channel in enumerate(found.channels):
        statistics = channel.moments.statistics
        mean, std = (
            (float(statistics.means[0]), float(statistics.stds[0])) if channel.moments.count else (np.nan, np.nan)
        )
        values: tuple[float | None, ...] = (None, None, None, None)
        if stored is not None:
            stored_mean, stored_std = float(stored.means[index]), float(stored.stds[index])
            off, ratio = (mean - stored_mean) / stored_std, std / stored_std
            values = (stored_mean, off, stored_std, ratio)
            if channel.moments.count:
                _judge_statistics(section, channel.name, mean, std, stored_mean, stored_std, full)
        section.rows.append(
            (channel.name, channel.unit, channel.low, channel.high, mean, values[0], values[1], std, values[2],
             values[3], channel.nonfinite)
        )  # fmt: skip
    return section


def _judge_statistics(
    section: Section, name: str, mean: float, std: float, stored_mean: float, stored_std: float, full: bool
) -> None:
    off, ratio = abs(mean - stored_mean) / stored_std, std / stored_std
    ratio = max(ratio, 1 / ratio) if ratio > 0 else np.inf
    of = "all training states" if full else "the training states read"
    for what, value, text, limits in (
        ("mean", off, f"{mean:.5g}, stored {stored_mean:.5g}: {off:.2f} standard deviations apart", MEAN_LIMITS[full]),
        ("std", ratio, f"{std:.5g}, stored {stored_std:.5g}: a factor of {ratio:.2f}", STD_LIMITS[full]),
    ):
        if value > limits[0]:
            section.find(
                Severity.ERROR if value > limits[1] else Severity.WARNING,
                f"data.{what}",
                f"the {'mean' if what == 'mean' else 'standard deviation'} of '{name}' over {of} is {text}",
                "compute the statistics of the training split again" + ("" if full else "; --full reads every state"),
            )

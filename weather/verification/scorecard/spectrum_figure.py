"""Zonal power spectra of forecasts beside those of the truth: what scales a model blurs as leads grow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from weather.presentation.style import QUIET, graded, new_figure, styled
from weather.verification.leads import describe_lead
from weather.verification.scorecard.headline import headline_channels, spread_leads
from weather.verification.scorecard.looks import TRUTH, legend_above, literal, look_of, typeset
from weather.verification.scores import Scores

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

MOST_CHANNELS, MOST_LEADS = 4, 4
EQUATOR = 40_075.0  # km
SMALLEST = 1e-9  # power that is shown, as a share of the largest: rounding lies below
MOST_RATIO = 20.0


@styled
def draw_spectra(scores: Scores) -> Figure:
    """A column for each headline channel: power over wavenumber above, its ratio to the truth's below; of other runs at
    the longest lead, for who smooths most may only seem to be the best.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    channels = headline_channels(scores.channels, MOST_CHANNELS)
    leads = spread_leads(len(scores.lead_hours), MOST_LEADS)
    k = scores.wavenumbers
    figure, axes = new_figure(2, len(channels), width=1.0 + 2.9 * len(channels), height=5.4)
    colours = graded(len(leads))
    for column, channel in enumerate(channels):
        above, below = axes[:, column]
        truth = _positive(scores.power[-1, leads[0], channel])
        above.plot(k, truth, label="truth", color=TRUTH.color, linewidth=2.2)
        below.axhline(1, color=TRUTH.color, linewidth=1.6)
        for colour, lead in zip(colours, leads, strict=True):
            model, truth = (_positive(scores.power[s, lead, channel]) for s in (0, -1))
            label = f"forecast, {describe_lead(scores.lead_hours[lead])}"
            above.plot(k, model, color=colour, linewidth=1.2, label=label)
            below.plot(k, model / truth, color=colour, linewidth=1.2)
        for run in scores.runs:
            other = _positive(scores.power[scores.sources.index(run), leads[-1], channel])
            style = {"color": look_of(run, scores.runs).color, "linestyle": "--", "linewidth": 1.2}
            above.plot(k, other, label=f"{literal(run)}, {describe_lead(scores.lead_hours[leads[-1]])}", **style)
            below.plot(k, other / truth, **style)
        above.set(xscale="log", yscale="log", xlim=(k[0], k[-1]))
        below.set(xscale="log", yscale="log", xlim=(k[0], k[-1]), xlabel="zonal wavenumber")
        above.set_title(f"{scores.channels[channel]} [{_squared(scores.units[channel])}]")
        above.tick_params(labelbottom=False)
        low, high = above.get_ylim()
        above.set_ylim(max(low, high * SMALLEST), high)
        low, high = below.get_ylim()
        below.set_ylim(max(min(low, 0.5), 1 / MOST_RATIO), min(max(high, 2.0), MOST_RATIO))
        top = above.secondary_xaxis("top", functions=(_wavelength, _wavelength))
        for ticks in (above.xaxis, below.xaxis, below.yaxis, top.xaxis):
            _few(ticks)
        top.tick_params(labelsize=8, colors=QUIET)
        if column == 0:
            top.set_xlabel("wavelength at the equator [km]", fontsize=8, color=QUIET)
    axes[0, 0].set_ylabel("power")
    axes[1, 0].set_ylabel("forecast / truth")
    legend_above(figure, axes[0, 0])
    return figure


def _few(ticks: Axis) -> None:
    """Ticks of a logarithmic axis at 1, 2, 5, 10, written out."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    ticks.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ticks.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ticks.set_minor_locator(NullLocator())
    ticks.set_minor_formatter(NullFormatter())


def _positive(power: np.ndarray) -> np.ndarray:
    """NaN, which leaves a gap, where a logarithm has nothing."""
    return np.where(np.isfinite(power) & (power > 0), power, np.nan)


def _squared(unit: str) -> str:
    text = typeset(unit)
    return (f"({text})" if len(text) > 2 else text) + "\N{SUPERSCRIPT TWO}" if text else "unit\N{SUPERSCRIPT TWO}"


def _wavelength(wavenumber: np.ndarray) -> np.ndarray:
    """Wavelength in km of a wavenumber, and the other way round."""
    return EQUATOR / np.maximum(wavenumber, 1e-9)

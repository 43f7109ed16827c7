"""RMSE and ACC over lead time, with the baselines and intervals: over the globe, and by region."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from weather.presentation.style import QUIET, new_figure, styled
from weather.verification.scorecard.estimates import Estimates
from weather.verification.scorecard.headline import headline_channels
from weather.verification.scorecard.looks import lead_axis, legend_above, literal, look_of, titled
from weather.verification.scores import CLIMATOLOGY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3
MOST_CHANNELS = 6
MOST_REGIONAL = 4
USEFUL = 0.6  # ACC below which a forecast is by convention of no use to a forecaster (Hollingsworth et al. 1980)
HALVES = ("northern_extratropics", "southern_extratropics")


@styled
def draw_lead_curves(found: Estimates) -> Figure:
    """A column for each headline channel: RMSE above, ACC below.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    scores = found.scores
    channels = headline_channels(scores.channels, MOST_CHANNELS)
    columns = min(COLUMNS, len(channels))
    groups = -(-len(channels) // columns)
    figure, axes = new_figure(2 * groups, columns, width=1.2 + 3.1 * columns, height=0.5 + 3.9 * groups)
    for number, channel in enumerate(channels):
        group, column = divmod(number, columns)
        above, below = axes[2 * group : 2 * group + 2, column]
        draw_scores(above, found, "rmse", 0, channel)
        draw_scores(below, found, "acc", 0, channel)
        above.set_title(titled(scores.channels[channel], scores.units[channel]))
        above.set_ylim(bottom=0)
        below.axhline(USEFUL, color=QUIET, linewidth=0.7, zorder=1)
        below.set_ylim(top=1.02)
        below.set_xlabel(lead_axis(scores.lead_hours)[1])
        above.sharex(below)
        above.tick_params(labelbottom=False)
        if column == 0:
            above.set_ylabel("RMSE")
            below.set_ylabel("ACC")
    for axis in axes.reshape(groups, 2, columns).transpose(0, 2, 1).reshape(-1, 2)[len(channels) :].flat:
        axis.set_visible(False)
    legend_above(figure, axes[0, 0])
    return figure


@styled
def draw_regions(found: Estimates) -> Figure:
    """RMSE over lead time: a row for each headline channel, a column for each region.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    scores = found.scores
    channels = headline_channels(scores.channels, MOST_REGIONAL)
    regions = shown_regions(scores.regions)
    figure, axes = new_figure(
        len(channels), len(regions), width=1.0 + 2.5 * len(regions), height=0.8 + 2.1 * len(channels)
    )
    for row, channel in enumerate(channels):
        for column, region in enumerate(regions):
            axis = axes[row, column]
            draw_scores(axis, found, "rmse", scores.regions.index(region), channel)
            axis.set_ylim(bottom=0)
            if row == 0:
                axis.set_title(region.replace("_", " "))
            if row == len(channels) - 1:
                axis.set_xlabel(lead_axis(scores.lead_hours)[1])
            if column == 0:
                axis.set_ylabel(f"RMSE of {titled(scores.channels[channel], scores.units[channel])}")
    legend_above(figure, axes[0, 0])
    return figure


def shown_regions(regions: tuple[str, ...]) -> tuple[str, ...]:
    """Without the one that two others make up."""
    both = all(half in regions for half in HALVES)
    return tuple(name for name in regions if not (both and name == "extratropics"))


def draw_scores(axis: Axes, found: Estimates, metric: str, region: int, channel: int) -> None:
    """A line with its band for each source; a climatology has no ACC."""
    scores = found.scores
    x, _ = lead_axis(scores.lead_hours)
    for source in scores.sources:
        if metric == "acc" and source == CLIMATOLOGY:
            continue
        interval, look = found.metrics[source, metric], look_of(source, found.runs)
        index = (region, slice(None), channel)
        estimate = np.where(np.isfinite(interval.estimate[index]), interval.estimate[index], np.nan)
        axis.plot(x, estimate, label=literal(found.label(source)), **look.line())
        axis.fill_between(x, interval.low[index], interval.high[index], color=look.color, alpha=0.2, linewidth=0)
    if len(x) > 1:
        axis.set_xlim(0, x[-1] * 1.03)

"""A model beside other runs: difference of the RMSE over lead time, with its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from weather.presentation.style import QUIET, new_figure, styled
from weather.verification.scorecard.estimates import Estimates
from weather.verification.scorecard.headline import headline_channels
from weather.verification.scorecard.looks import lead_axis, legend_above, literal, look_of, titled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3
MOST_CHANNELS = 6


@styled
def draw_differences(found: Estimates) -> Figure:
    """A panel for each headline channel, a line with its band for each run, over the globe; below 0 the model is
    better.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    scores = found.scores
    channels = headline_channels(scores.channels, MOST_CHANNELS)
    columns = min(COLUMNS, len(channels))
    rows = -(-len(channels) // columns)
    figure, axes = new_figure(rows, columns, width=1.2 + 3.1 * columns, height=0.8 + 2.4 * rows)
    for axis, channel in zip(axes.flat, channels, strict=False):
        _panel(axis, found, channel)
        axis.set_title(titled(scores.channels[channel], scores.units[channel]))
        axis.set_xlabel(lead_axis(scores.lead_hours)[1])
    for axis in axes.flat[len(channels) :]:
        axis.set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel("RMSE, model \N{MINUS SIGN} other")
    legend_above(figure, axes[0, 0])
    return figure


def _panel(axis: Axes, found: Estimates, channel: int) -> None:
    x = np.array(lead_axis(found.scores.lead_hours)[0])
    axis.axhline(0, color=QUIET, linewidth=0.9, zorder=0)
    for run in found.runs:
        interval, look = found.differences[run, "rmse"], look_of(run, found.runs)
        value, low, high = (each[0, :, channel] for each in (interval.estimate, interval.low, interval.high))
        shown = np.where(np.isfinite(value), value, np.nan)
        axis.plot(x, shown, label=f"model \N{MINUS SIGN} {literal(run)}", **{**look.line(), "markerfacecolor": "white"})
        sure = found.differs(run)[0, :, channel]
        axis.plot(x[sure], shown[sure], **{**look.line(), "linestyle": ""})
        axis.fill_between(x, low, high, color=look.color, alpha=0.2, linewidth=0)
    axis.set_xlim(0, x[-1] * 1.03)

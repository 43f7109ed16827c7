"""The scores of an ensemble as a figure: error and spread, CRPS, and rank histograms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from weather.forecasting.ensemble_measures import EnsembleSkill
from weather.presentation.style import COLOURS, MARKERS, QUIET, graded, new_figure, note_below, styled
from weather.verification.leads import describe_lead
from weather.verification.scorecard.looks import lead_axis, literal, titled
from weather.verification.scores import COVERAGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CHANNELS = 4
CURVES = (
    ("RMSE, spread", {"rmse": "RMSE of the mean", "spread": "spread"}),
    ("CRPS", {"crps": "CRPS", "fair_crps": "fair CRPS"}),
)


@styled
def draw_scores(skill: EnsembleSkill, title: str) -> Figure:
    """A row for each of the first channels: RMSE of the mean and spread over lead, CRPS, and rank histograms.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    rows = min(MOST_CHANNELS, len(skill.channels))
    figure, axes = new_figure(rows, 3, width=12.4, height=1.1 + 2.5 * rows)
    for c in range(rows):
        for axis, (what, names) in zip(axes[c], CURVES, strict=False):
            _curves(axis, skill, c, names)
            axis.set_title(titled(skill.channels[c], skill.units[c]))
            axis.set(ylabel=what, ylim=(0, None))
        _ranks(axes[c, 2], skill, c)
        axes[c, 2].set_title(skill.channels[c])
    for axis in axes[:, :2].flat:
        axis.legend()
    figure.suptitle(literal(title), fontsize=11)
    bands = f"Bands: {COVERAGE:.0%} interval over initial times. " if skill.blocks.any() else "There are no intervals. "
    flat = "Dotted: the flat histogram of a reliable ensemble."
    left_out = len(skill.channels) - rows
    note_below(figure, bands + flat + (f" Not shown: {left_out} more channels." if left_out else ""))
    return figure


def _verified(skill: EnsembleSkill) -> tuple[np.ndarray, list[float]]:
    """The leads that have truth: their numbers, and hours."""
    leads = np.flatnonzero(skill.forecasts)
    return leads, [skill.lead_hours[lead] for lead in leads]


def _curves(axis: Axes, skill: EnsembleSkill, channel: int, names: dict[str, str]) -> None:
    leads, hours = _verified(skill)
    x, label = lead_axis(hours)
    axis.set_xlabel(label)
    for number, (name, said) in enumerate(names.items()):
        found, colour = skill.measures[name], COLOURS[number]
        style: dict[str, Any] = {"linestyle": ("-", "--")[number], "marker": MARKERS[number], "markersize": 3.5}
        axis.plot(x, found.estimate[leads, channel], color=colour, label=said, **style)
        low, high = found.low[leads, channel], found.high[leads, channel]
        axis.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
        axis.vlines(x, low, high, color=colour, linewidth=0.8)  # a band of one lead has no width


def _ranks(axis: Axes, skill: EnsembleSkill, channel: int) -> None:
    """As many steps as there are ranks, for some leads, beside the flat histogram of a reliable ensemble."""
    from matplotlib.ticker import MaxNLocator

    leads, _ = _verified(skill)
    chosen = dict.fromkeys((leads[0], leads[len(leads) // 2], leads[-1]))
    edges = np.arange(skill.members + 2) - 0.5
    for lead, colour in zip(chosen, graded(len(chosen)), strict=True):
        label = describe_lead(skill.lead_hours[lead])
        axis.stairs(skill.rank_histogram[lead, channel], edges, baseline=None, color=colour, linewidth=1.5, label=label)
    axis.axhline(1 / (skill.members + 1), color=QUIET, linestyle=":", label="reliable")
    axis.set(xlabel="members below the truth", ylabel="share of the area", xlim=(edges[0], edges[-1]))
    axis.set_ylim(0, 1.4 * axis.dataLim.ymax)
    axis.legend(loc="upper center", ncols=2)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))

"""The scorecard as a picture: by how much the model's RMSE differs from a baseline's, for each channel and lead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from weather.presentation.style import new_figure, styled
from weather.verification.leads import describe_lead
from weather.verification.scorecard.estimates import Estimates
from weather.verification.scorecard.headline import spread_leads
from weather.verification.scorecard.looks import literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

MOST_NUMBERS = 480  # cells of a map in which numbers can be read
MOST_LABELS = 16
LONGEST_BAR = 6.0  # inches
FULL = 60.0  # percent at which colours are at their darkest
LESS = (1.0, 2.0, 5.0, 10.0, 20.0)  # the same where differences are small, as those of two runs


def range_of(found: Estimates, others: Sequence[str]) -> float:
    """Percent at which colours are at their darkest, so that small differences show: twice the usual one."""
    values = np.abs(np.concatenate([100 * found.skill[other][0].ravel() for other in others]))
    usual = np.median(values[np.isfinite(values)]) if np.isfinite(values).any() else 0.0
    return next((full for full in LESS if full >= 2 * usual), FULL)


@styled
def draw_heat_map(found: Estimates, others: Sequence[str], *, full: float = FULL) -> Figure:
    """A map for each baseline or run, channels down and leads across; blue where the model is better, over the globe.

    Args:
        full: percent at which colours are at their darkest.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    scores = found.scores
    rows, columns = len(scores.channels), len(scores.lead_hours)
    numbers = rows * columns <= MOST_NUMBERS
    panels = len(others)
    panel = max(3.6 / panels, (0.58 if numbers else 0.22) * columns)
    width = 0.6 + 0.08 * max(map(len, scores.channels)) + (panel + 0.2) * panels
    figure, axes = new_figure(1, panels, width=width, height=1.7 + (0.3 if numbers else 0.2) * rows)
    days = [lead for lead, hours in enumerate(scores.lead_hours) if hours % 24 == 0]
    named = days if columns > MOST_LABELS and len(days) > 1 else list(range(columns))
    labelled = [named[each] for each in spread_leads(len(named), MOST_LABELS)]
    for axis, baseline in zip(axes[0], others, strict=True):
        image = _map(axis, found, baseline, numbers=numbers, full=full)
        axis.set_xticks(labelled, [describe_lead(scores.lead_hours[lead]) for lead in labelled])
        axis.set_yticks(range(rows), scores.channels if axis is axes[0, 0] else [""] * rows)
        axis.set_title(f"against {literal(baseline)}")
        axis.set_xlabel("lead time")
    length = min(0.8 * width, LONGEST_BAR)
    bar = figure.colorbar(
        image, ax=axes[0].tolist(), extend="both", location="bottom", aspect=length / 0.16, shrink=length / width,
        pad=0.3 / figure.get_figheight(),
    )  # fmt: skip
    bar.set_label("RMSE of the model less that of the other [% of it]\nblue: the model is better")
    bar.outline.set_visible(False)
    return figure


def _map(axis: Axes, found: Estimates, baseline: str, *, numbers: bool, full: float) -> AxesImage:
    percent = -100 * found.skill[baseline][0].T
    known = np.isfinite(percent)
    shown = np.ma.masked_where(~known, percent)
    image = axis.imshow(shown, aspect="auto", cmap="RdBu_r", vmin=-full, vmax=full)
    axis.set_facecolor("0.75")
    axis.grid(False)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set_xticks(np.arange(percent.shape[1] - 1) + 0.5, minor=True)
    axis.set_yticks(np.arange(percent.shape[0] - 1) + 0.5, minor=True)
    axis.grid(True, which="minor", color="white", linewidth=1)
    axis.tick_params(which="minor", length=0)
    differs = found.differs(baseline)[0].T
    for (row, column), value in np.ndenumerate(percent):
        unsure = found.has_intervals and known[row, column] and not differs[row, column]
        if numbers:
            text = (
                f"{value:+.{0 if full == FULL else 1}f}".replace("-", "\N{MINUS SIGN}")
                if known[row, column]
                else "\N{MULTIPLICATION SIGN}"
            )
            dark = known[row, column] and abs(value) > 0.62 * full
            axis.text(
                column, row, f"({text})" if unsure else text, ha="center", va="center", fontsize=8,
                color="white" if dark else "black", style="italic" if unsure else "normal",
            )  # fmt: skip
        elif unsure:
            axis.plot(column, row, ".", color="black", markersize=3)
    return image

"""The scorecard as a picture: by how much the model's RMSE differs from a baseline's, for each channel and lead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from weather.presentation.style import new_figure, styled
from weather.verification.leads import describe_lead
from weather.verification.scorecard.estimates import Estimates

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

MOST_NUMBERS = 480  # cells of a map in which numbers can be read
FULL = 60.0  # percent at which colours are at their darkest


@styled
def draw_heat_map(found: Estimates) -> Figure:
    """A map for each baseline, channels down and leads across; blue where the model is better, over the globe.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    scores = found.scores
    rows, columns = len(scores.channels), len(scores.lead_hours)
    numbers = rows * columns <= MOST_NUMBERS
    width = max(1.6, (0.58 if numbers else 0.3) * columns + 0.3)
    figure, axes = new_figure(
        1,
        len(found.baselines),
        width=1.2 + 0.08 * max(map(len, scores.channels)) + max(2.6, width) * len(found.baselines),
        height=1.7 + (0.3 if numbers else 0.2) * rows,
    )
    for axis, baseline in zip(axes[0], found.baselines, strict=True):
        image = _map(axis, found, baseline, numbers=numbers)
        axis.set_xticks(range(columns), [describe_lead(lead) for lead in scores.lead_hours])
        axis.set_yticks(range(rows), scores.channels if axis is axes[0, 0] else [""] * rows)
        axis.set_title(f"against {baseline}")
        axis.set_xlabel("lead time")
        if not numbers and columns > 12:
            axis.tick_params(axis="x", labelrotation=90)
    bar = figure.colorbar(image, ax=axes[0].tolist(), extend="both", location="bottom", aspect=40, shrink=0.8)
    bar.set_label("RMSE of the model less that of the baseline [% of it]; blue: the model is better")
    bar.outline.set_visible(False)
    return figure


def _map(axis: Axes, found: Estimates, baseline: str, *, numbers: bool) -> AxesImage:
    percent = -100 * found.skill[baseline][0].T
    known = np.isfinite(percent)
    shown = np.ma.masked_where(~known, percent)
    image = axis.imshow(shown, aspect="auto", cmap="RdBu_r", vmin=-FULL, vmax=FULL)
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
            text = f"{value:+.0f}".replace("-", "\N{MINUS SIGN}") if known[row, column] else "\N{MULTIPLICATION SIGN}"
            dark = known[row, column] and abs(value) > 0.62 * FULL
            axis.text(
                column, row, f"({text})" if unsure else text, ha="center", va="center", fontsize=8,
                color="white" if dark else "black", style="italic" if unsure else "normal",
            )  # fmt: skip
        elif unsure:
            axis.plot(column, row, ".", color="black", markersize=3)
    return image

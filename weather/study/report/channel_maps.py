"""Maps of channel by lead: how each error scales, and where the pooled loss leads it to a wrong size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from weather.presentation.style import new_figure, styled
from weather.study.fits.channels import ChannelFit, ChannelScaling
from weather.verification.leads import describe_lead

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_NUMBERS = 400  # cells in a map in which numbers can be read


@dataclass(frozen=True)
class ChannelMap:
    """One map: the number of each cell, None where it is not known, and which cells are marked."""

    title: str
    value: Callable[[ChannelFit], float | None]
    about: float | None = None
    """Where the colours of a diverging map meet; None: a map from low to high."""
    marked: Callable[[ChannelFit], bool] = lambda fit: False


def _of_law(name: str) -> Callable[[ChannelFit], float | None]:
    return lambda fit: None if fit.law is None else float(getattr(fit.law, name))


MAPS = (
    ChannelMap(
        "g in L ~ C^g (x: not shown to fall)",
        lambda fit: None if fit.compute_exponent is None else fit.compute_exponent.estimate,
        0.0,
        lambda fit: fit.falls is False,
    ),
    ChannelMap("a in N_opt ~ C^a", _of_law("parameter_exponent"), 0.5),
    ChannelMap("alpha, of model size", _of_law("model_exponent")),
    ChannelMap("beta, of data", _of_law("data_exponent")),
    ChannelMap(
        "log2 of pooled over best size (x: misleads)",
        lambda fit: None if fit.pooled is None else float(np.log2(fit.pooled.size_ratio.estimate)),
        0.0,
        lambda fit: fit.pooled is not None and fit.pooled.misleads,
    ),
    ChannelMap(
        "lost by the pooled choice [% of L]",
        lambda fit: None if fit.pooled is None else 100 * fit.pooled.excess,
        None,
        lambda fit: fit.pooled is not None and fit.pooled.misleads,
    ),
)


@styled
def draw_channel_maps(result: ChannelScaling) -> Figure:
    """All maps in one figure, channels down and leads across; grey where nothing could be fitted.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    rows, columns = len(result.channels), len(result.leads)
    width, height = max(3.4, 0.75 * columns + 2.2), max(2.4, 0.3 * rows + 1.4)
    figure, axes = new_figure(2, 3, width=3 * width, height=2 * height + 0.5)
    for axis, each in zip(axes.flat, MAPS, strict=True):
        values = np.array([each.value(fit) for fit in result.fits], float).reshape(rows, columns)
        values[~np.isfinite(values)] = np.nan
        axis.set_facecolor("0.8")
        axis.grid(visible=False)
        known = values[np.isfinite(values)]
        limits = {}
        if each.about is not None:
            reach = max(float(np.abs(known - each.about).max(initial=0.0)), 1e-3)
            limits = {"vmin": each.about - reach, "vmax": each.about + reach}
        image = axis.imshow(values, aspect="auto", cmap="viridis" if each.about is None else "RdBu_r", **limits)
        figure.colorbar(image, ax=axis)
        for number, fit in enumerate(result.fits):
            row, column = divmod(number, columns)
            text = "x " * each.marked(fit)
            if np.isfinite(values[row, column]) and rows * columns <= MOST_NUMBERS:
                text += f"{values[row, column]:.2g}"
            axis.text(column, row, text, ha="center", va="center", fontsize=8).set_bbox(
                {"facecolor": "white", "alpha": 0.6, "linewidth": 0, "pad": 0.8} if text else None
            )
        axis.set_xticks(range(columns), [describe_lead(lead) for lead in result.leads])
        axis.set_yticks(range(rows), result.channels)
        axis.set_title(each.title, fontsize=9)
        axis.set_xlabel("lead")
    figure.suptitle(f"Scaling by channel and lead; sizes for {result.flops:.3g} FLOPs")
    return figure

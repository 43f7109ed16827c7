"""Maps of one forecast: truth, forecast, and error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from weather.presentation.numbers import number
from weather.presentation.style import new_figure, styled
from weather.verification.leads import describe_lead
from weather.verification.metrics import area_weights
from weather.verification.scorecard.example import Example
from weather.verification.scorecard.looks import typeset

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_ROWS = 4
SHOWN = (0.5, 99.5)  # percentiles between which colours change
CONTOURED = ("z", "phi", "msl")  # names of fields that are read by their contours
CONTOURS = 10
PIXELS = 720  # columns of a field that a panel can show; larger fields are thinned


def draw_channel(example: Example, channel: int, leads: Sequence[int]) -> Figure:
    """A row for each lead, all rows in the same colours.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    return _draw(example, [(lead, channel) for lead in leads[:MOST_ROWS]])


def draw_overview(example: Example, lead: int = 0) -> Figure:
    """A row for each channel at one lead.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    return _draw(example, [(lead, channel) for channel in range(min(MOST_ROWS, len(example.channels)))])


@styled
def _draw(example: Example, rows: Sequence[tuple[int, int]]) -> Figure:
    figure, axes = new_figure(len(rows), 3, width=12.4, height=0.6 + 1.86 * len(rows))
    for row, (lead, channel) in enumerate(rows):
        leads = [lead for lead, each in rows if each == channel]
        field, error = _scales(example, channel, leads)
        truth, forecast = example.truth[lead, channel], example.forecast[lead, channel]
        panels = ((truth, field), (forecast, field), (forecast - truth, error))
        drawn = [_panel(axis, example, values, look) for axis, (values, look) in zip(axes[row], panels, strict=True)]
        if example.channels[channel].startswith(CONTOURED):
            levels = np.linspace(field["vmin"], field["vmax"], CONTOURS)
            for axis, values in zip(axes[row, :2], (truth, forecast), strict=True):
                _lines(axis, example.longitude, example.latitude, values, levels, color="black", linewidth=0.5)
        bars = (figure.colorbar(drawn[1], ax=axes[row, 1], extend="both", aspect=12, pad=0.02, shrink=0.8),
                figure.colorbar(drawn[2], ax=axes[row, 2], extend="both", aspect=12, pad=0.02, shrink=0.8))  # fmt: skip
        for bar in bars:
            bar.outline.set_visible(False)
            bar.ax.set_title(typeset(example.units[channel]), fontsize=8, loc="left")
            bar.ax.tick_params(labelsize=8)
        axes[row, 0].set_ylabel(_row_title(example, lead, channel))
        axes[row, 2].set_title(f"RMSE {number(_rmse(example, forecast - truth), 3)}", fontsize=8.5, loc="right")
    for axis, name in zip(axes[0], ("truth", "forecast", "forecast \N{MINUS SIGN} truth"), strict=True):
        axis.set_title(name, loc="left")
    for axis in axes[:-1].flat:
        axis.tick_params(labelbottom=False)
    for axis in axes[:, 1:].flat:
        axis.tick_params(labelleft=False)
    return figure


def _scales(example: Example, channel: int, leads: Sequence[int]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Colours of a field, and those of its errors."""
    truth = example.truth[leads, channel]
    error = example.forecast[leads, channel] - truth
    reach = max(abs(bound) for bound in _bounds(error))
    return colours_between(*_bounds(truth)), {"vmin": -reach, "vmax": reach, "cmap": "RdBu_r"}


def colours_between(low: float, high: float) -> dict[str, Any]:
    """Colours of a field, symmetric about 0 where it has both signs."""
    if low < 0 < high and min(-low, high) > 0.3 * max(-low, high):
        reach = max(-low, high)
        return {"vmin": -reach, "vmax": reach, "cmap": "PuOr_r"}
    return {"vmin": low, "vmax": high, "cmap": "viridis"}


def _bounds(values: np.ndarray) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, SHOWN) if finite.size else (-1.0, 1.0)
    tiny = np.finfo(np.float32).tiny
    return float(low), float(high) if high > low else float(low + max(abs(low) * 1e-6, tiny))


def _panel(axis: Axes, example: Example, values: np.ndarray, look: dict[str, Any]):  # type: ignore[no-untyped-def]
    every = max(1, len(example.longitude) // PIXELS)
    longitude, latitude = example.longitude[::every], example.latitude[::every]
    shown = np.ma.masked_invalid(values[::every, ::every])
    frame_map(axis, example.longitude)
    image = axis.pcolormesh(longitude, latitude, shown, shading="nearest", rasterized=True, **look)
    if example.coast is not None:
        coast = example.coast
        _lines(axis, coast.longitude, coast.latitude, coast.land, [0.5], color="0.15", linewidth=0.6)
    return image


def frame_map(axis: Axes, longitude: np.ndarray) -> None:
    """Degrees on both axes, equally long, and grey where a field is not finite."""
    from matplotlib import ticker

    axis.set_facecolor("0.75")
    axis.grid(False)
    if np.ptp(longitude) > 300:
        axis.xaxis.set_major_locator(ticker.MultipleLocator(60))
        axis.yaxis.set_major_locator(ticker.MultipleLocator(30))
    axis.xaxis.set_major_formatter(ticker.FuncFormatter(lambda x, _: f"{x:g}\N{DEGREE SIGN}"))
    axis.yaxis.set_major_formatter(ticker.FuncFormatter(_latitude))
    axis.tick_params(labelsize=7.5, length=2)
    axis.spines[:].set_visible(False)
    axis.set_aspect("equal")


def _latitude(degrees: float, _: int) -> str:
    return f"{abs(degrees):g}\N{DEGREE SIGN}{'N' if degrees > 0 else 'S' if degrees < 0 else ''}"


def _lines(
    axis: Axes,
    longitude: np.ndarray,
    latitude: np.ndarray,
    values: np.ndarray,
    levels: Any,
    *,
    color: str,
    linewidth: float,
) -> None:
    finite = values[np.isfinite(values)]
    if finite.size and min(levels) <= finite.max() and max(levels) >= finite.min():  # matplotlib warns of none
        axis.contour(longitude, latitude, values, levels, colors=color, linewidths=linewidth, linestyles="solid")


def _rmse(example: Example, error: np.ndarray) -> float:
    weights = area_weights(example.latitude)[:, None]
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.sqrt((weights * error.astype(np.float64) ** 2).mean()))


def _row_title(example: Example, lead: int, channel: int) -> str:
    title = f"{example.channels[channel]}, {describe_lead(example.lead_hours[lead])}"
    if example.valid_times is not None:
        title += f"\nvalid {np.datetime_as_string(example.valid_times[lead], 'h').replace('T', ' ')}h"
    return title

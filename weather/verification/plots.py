"""Figures of forecasts. matplotlib is imported where a figure is drawn, so that nothing else needs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from weather.errors import ConfigError

LARGEST_ROWS = 4  # channels in one figure


def draw_maps(
    path: Path,
    *,
    truth: np.ndarray,
    forecast: np.ndarray,
    channels: tuple[str, ...],
    units: tuple[str, ...],
    latitude: np.ndarray,
    longitude: np.ndarray,
    title: str,
) -> None:
    """Write a PNG with a row for each channel: truth, forecast, and their difference.

    Args:
        truth, forecast: [channel, lat, lon] in physical units.
        latitude, longitude: [lat], [lon] in degrees, latitude either way round.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise ConfigError("the figure needs matplotlib", rule="it is an extra", fix="pip install matplotlib") from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib import ticker

    rows = min(LARGEST_ROWS, len(channels))
    figure, axes = plt.subplots(rows, 3, figsize=(15, 2.9 * rows), squeeze=False, layout="constrained")
    for row in range(rows):
        difference = forecast[row] - truth[row]
        low, high = np.percentile(truth[row], (0.5, 99.5))
        largest = max(float(np.percentile(np.abs(difference), 99.5)), 1e-30)
        panels = (
            ("truth", truth[row], {"vmin": low, "vmax": high, "cmap": "viridis"}),
            ("forecast", forecast[row], {"vmin": low, "vmax": high, "cmap": "viridis"}),
            ("forecast - truth", difference, {"vmin": -largest, "vmax": largest, "cmap": "RdBu_r"}),
        )
        for axis, (name, field, colours) in zip(axes[row], panels, strict=True):
            image = axis.pcolormesh(longitude, latitude, field, shading="nearest", rasterized=True, **colours)
            unit = f" [{units[row]}]" if units[row] else ""
            axis.set_title(f"{channels[row]}{unit}: {name}", fontsize=10)
            axis.xaxis.set_major_locator(ticker.MultipleLocator(60))
            axis.yaxis.set_major_locator(ticker.MultipleLocator(30))
            figure.colorbar(image, ax=axis, shrink=0.9)
            if axis is axes[row][0]:
                axis.set_ylabel("latitude [degrees]")
            if row == rows - 1:
                axis.set_xlabel("longitude [degrees]")
    figure.suptitle(title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    plt.close(figure)

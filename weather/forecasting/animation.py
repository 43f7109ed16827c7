"""A forecast as an animation: one frame a lead, the truth beside it where the archive has it, one colour scale."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from weather.data.archive import Archive
from weather.errors import ConfigError
from weather.forecasting.layout import Layout
from weather.forecasting.stores import Store
from weather.forecasting.truth import Truth
from weather.forecasting.variables import find_channel
from weather.presentation.style import new_figure, settings
from weather.runtime.progress import counting_bar
from weather.verification.scorecard.looks import literal, titled
from weather.verification.scorecard.maps import colours_between, frame_map

FRAMES_PER_SECOND = 5
DOTS_PER_INCH = 90
ENDINGS = (".gif", ".mp4")


@dataclass(frozen=True)
class Scene:
    """What is animated: the first member of the first initial time, in one channel."""

    store: Store
    layout: Layout
    archive: Archive
    channel: str
    title: str


def animate(scene: Scene, path: Path) -> Path:
    """Write the animation; gives its path, which is a .gif where an .mp4 was asked for and ffmpeg is not there.

    Raises:
        ConfigError: the channel is not forecast, the ending is neither .gif nor .mp4, or matplotlib is not installed.
    """
    index = channel_index(scene.layout, scene.archive, scene.channel)
    check_animation(path)
    from matplotlib import animation

    if path.suffix == ".mp4" and shutil.which("ffmpeg") is None:
        print("ffmpeg is not there: a .gif is made instead of the .mp4")
        path = path.with_suffix(".gif")
    writers = {".gif": animation.PillowWriter, ".mp4": animation.FFMpegWriter}
    # Both tell the format by the name's ending.
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial_{path.name}")
    try:
        with settings(), contextlib.closing(Truth(scene.archive, scene.layout.channels)) as truth:
            _write_frames(scene, index, truth, writers[path.suffix](fps=FRAMES_PER_SECOND), partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)  # what was interrupted
    return path


def check_animation(path: Path) -> None:
    """Refuse what cannot be written.

    Raises:
        ConfigError: the ending is neither .gif nor .mp4, or matplotlib is not installed.
    """
    if path.suffix not in ENDINGS:
        raise ConfigError(f"--animation {path}", rule="an animation is a .gif or a .mp4")
    settings()  # refuses where matplotlib is not installed


def channel_index(layout: Layout, archive: Archive, channel: str) -> int:
    """Position of a forecast channel.

    Raises:
        ConfigError: it is not forecast.
    """
    found = find_channel(layout.variables, channel)
    if found is None:
        raise ConfigError(
            f"--animate {channel}: no such channel",
            rule=f"the forecast has {', '.join(archive.channels[: layout.channels])}",
        )
    variable, position = found
    return variable.channels[position]


def _write_frames(scene: Scene, index: int, truth: Truth, writer: Any, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    layout = scene.layout
    valid = layout.initial_times[0] + layout.leads
    beside = any(truth.has(time) for time in valid)
    look = colours_between(*_colour_range(scene, index, truth, valid))
    panels = 2 if beside else 1
    figure, axes = new_figure(1, panels, width=5.6 * panels + 1, height=3.5)
    FigureCanvasAgg(figure)
    east, north = layout.longitude, layout.latitude
    meshes = []
    for axis, name in zip(axes[0], ("forecast", "truth"), strict=False):
        frame_map(axis, east)
        meshes.append(axis.pcolormesh(east, north, np.full(layout.grid, np.nan), shading="nearest", **look))
        axis.set_title(name)
        axis.set_xlabel("longitude")
    axes[0][0].set_ylabel("latitude")
    label = titled(scene.channel, scene.archive.channel_units[index])
    bar = figure.colorbar(meshes[0], ax=axes[0].tolist(), label=label, shrink=0.8, extend="both")
    bar.outline.set_visible(False)
    heading = figure.suptitle(" \n ")
    with (
        writer.saving(figure, str(path), DOTS_PER_INCH),
        counting_bar("animating", len(valid), unit="frames") as advance,
    ):
        for lead, time in enumerate(valid):
            meshes[0].set_array(scene.store.read(0, lead)[0, index])
            if beside:
                observed = truth.at(time)
                meshes[1].set_array(np.full(layout.grid, np.nan) if observed is None else observed[index])
                axes[0][1].set_title("truth" if observed is not None else "no truth in the archive")
            hours = layout.leads[lead] / np.timedelta64(3600, "s")
            begin, until = (str(each)[:16].replace("T", " ") for each in (layout.initial_times[0], time))
            heading.set_text(
                f"{literal(scene.title)}: {scene.channel} from {begin}\nlead {hours:g} h, valid {until} UTC"
            )
            writer.grab_frame()
            advance(1)


def _colour_range(scene: Scene, index: int, truth: Truth, valid: np.ndarray) -> tuple[float, float]:
    """Limits of the colours, the same for all frames: nearly all values of the truth, or else of the forecast."""
    limits = []
    for lead, time in enumerate(valid):
        observed = truth.at(time)
        field = scene.store.read(0, lead)[0, index] if observed is None else observed[index]
        finite = field[np.isfinite(field)]
        if finite.size:
            limits.append(np.percentile(finite, (0.5, 99.5)))
    if not limits:
        return 0.0, 1.0
    low, high = float(np.min(limits, axis=0)[0]), float(np.max(limits, axis=0)[1])
    return (low, high) if high > low else (low - 0.5, high + 0.5)

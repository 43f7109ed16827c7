"""Loss and learning rate of all runs as they trained: trunks, and the branches that leave them and cool down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from weather.presentation.numbers import count, power
from weather.presentation.parts import Drawing, Part
from weather.presentation.style import QUIET, graded, new_figure, plain_ticks, styled
from weather.study.planned import PlannedRun
from weather.study.report.material import Material

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE, ANCHOR = "Loss curves", "curves"
MOST_PANELS = 12
COLUMNS = 3


def curve_part(material: Material) -> Part:
    """A panel for each size, or for each factor; why there is none."""
    logged = [run for run in material.plan.runs if run.name in material.curves and len(material.curves[run.name].steps)]
    if not logged:
        command = material.command("start")
        return Part(ANCHOR, TITLE, missing="No run has logged a step yet; this starts them:", command=command)
    panels: dict[str, list[PlannedRun]] = {}
    for run in logged:
        panels.setdefault(_panel(run), []).append(run)
    rows = [
        (run.name, *values)
        for run in logged
        for values in zip(*(x.tolist() for x in material.curves[run.name].thinned()), strict=True)
    ]
    shown = (
        f" The first {MOST_PANELS} of {len(panels)} panels; the CSV file has all." if len(panels) > MOST_PANELS else ""
    )
    caption = (
        "Training loss over FLOPs, averaged over short stretches; panels begin shortly before the first branch. Grey: "
        "trunks at a constant learning rate; coloured: branches, whose loss falls while the rate comes down, and runs "
        "of their own. Black rings are validation losses at the end. A curve that rises, or a branch that does not "
        "fall, is a run to look at." + shown
    )
    drawing = Drawing(
        "loss_curves",
        _figure(material, panels),
        caption,
        f"Training loss over FLOPs of {len(logged)} runs in {min(len(panels), MOST_PANELS)} panels.",
        ("run", "flops", "training_loss", "learning_rate"),
        tuple(rows),
    )
    return Part(ANCHOR, TITLE, drawings=(drawing,))


def _panel(run: PlannedRun) -> str:
    factor = run.labels.get("factor")
    return str(factor) if factor is not None else f"N = {count(run.cost.parameters)}"


@styled
def _figure(material: Material, panels: dict[str, list[PlannedRun]]) -> Figure:
    names = list(panels)[:MOST_PANELS]
    columns = min(COLUMNS, len(names))
    lines = -(-len(names) // columns)
    figure, axes = new_figure(lines, columns, height=0.6 + 2.5 * lines)
    for axis, name in zip(axes.flat, names, strict=False):
        _panel_of(axis, material, panels[name])
        axis.set_title(name)
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel("training loss [1]")
    for column in range(columns):
        axes[min(lines - 1, (len(names) - 1 - column) // columns), column].set_xlabel("C [FLOPs]")
    return figure


def _show_from(axis: Axes, flops: float) -> None:
    """Leave out the fall at the beginning, beside which the cooldowns would not be seen."""
    shown = np.concatenate([np.asarray(line.get_ydata())[np.asarray(line.get_xdata()) >= flops] for line in axis.lines])
    shown = shown[np.isfinite(shown)]
    if shown.size:
        axis.set_xlim(left=flops)
        axis.set_ylim(shown.min() / 1.05, shown.max() * 1.05)


def _panel_of(axis: Axes, material: Material, runs: list[PlannedRun]) -> None:
    ends = sorted({run.labels.get("scale", run.cost.flops) for run in runs if run.role != "trunk"})
    colours = dict(zip(ends, graded(len(ends)), strict=True))
    for run in runs:
        curves = material.curves[run.name]
        flops, loss, _ = curves.thinned()
        end = run.labels.get("scale", run.cost.flops)
        label = f"× {end:g}" if "scale" in run.labels else power(end, 2)
        trunk = run.role == "trunk"
        axis.plot(
            flops,
            loss,
            color=QUIET if trunk else colours[end],
            lw=1.0 if trunk else 1.4,
            label="trunk" if trunk else label,
            zorder=1 if trunk else 2,
        )
        if not trunk and curves.validation_loss.size and np.isfinite(curves.validation_loss[-1]):
            axis.plot(curves.validation_flops[-1], curves.validation_loss[-1], "o", ms=4.5, mfc="none", mec="black")
    axis.set(xscale="log", yscale="log")
    begins = [material.curves[run.name].flops[0] for run in runs if run.role == "branch"]
    if begins:
        _show_from(axis, min(begins) / 1.5)
    plain_ticks(axis)
    axis.legend(fontsize=6.5, handlelength=1.2)

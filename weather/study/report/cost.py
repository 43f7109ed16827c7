"""What a loss costs: FLOPs, seconds and node-hours that each run spent itself; and what trunks and branches save."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weather.presentation.numbers import count, number, power, share
from weather.presentation.parts import Column, Drawing, Part, Sheet
from weather.presentation.style import COLOURS, MARKERS, graded, new_figure, plain_ticks, styled
from weather.study.planned import StudyPlan
from weather.study.report.material import Material, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS = (
    ("FLOPs of its own steps", lambda row: row.positive("own_C")),
    ("seconds of its own steps", lambda row: row.positive("own_seconds")),
    ("node-hours of its own steps", lambda row: node_hours(row)),
)
LEGEND_SIZES = 8


def node_hours(row: Row) -> float | None:
    """Of the steps that a run made itself; None where its seconds or nodes are not known."""
    seconds, nodes = row.positive("own_seconds"), row.positive("nodes")
    return None if seconds is None or nodes is None else seconds * nodes / 3600


def cost_part(material: Material) -> Part:
    """Quality against cost, or why there is none."""
    title, anchor = "Quality against cost", "cost"
    rows = [row for row in material.finished() if row.positive("loss")]
    if not rows:
        command = material.command("start")
        return Part(
            anchor, title, missing="No run has finished with a loss yet; this goes on with them:", command=command
        )
    caption = (
        "Validation loss against what each run spent itself, coloured by size (dark: small). A branch counts without "
        "the trunk below it; lower left is better."
    )
    drawing = Drawing(
        "quality_against_cost",
        _figure(rows),
        caption,
        f"Validation loss of {len(rows)} runs against their FLOPs, seconds and node-hours.",
        ("run", "parameters", "loss", "own_flops", "own_seconds", "node_hours"),
        tuple((row.name, row.number("N"), row.number("loss"), *(value(row) for _, value in PANELS)) for row in rows),
    )
    return Part(anchor, title, drawings=(drawing,))


@styled
def _figure(rows: list[Row]) -> Figure:
    figure, axes = new_figure(1, 3, height=3.6)
    sizes = sorted({row.number("N") or 0.0 for row in rows})
    colours = dict(zip(sizes, graded(len(sizes)), strict=True))
    for axis, (label, value) in zip(axes[0], PANELS, strict=True):
        for place, n in enumerate(sizes):
            points = [(value(row), row.positive("loss")) for row in rows if (row.number("N") or 0.0) == n]
            known = sorted((x, y) for x, y in points if x is not None and y is not None)
            axis.plot(
                [x for x, _ in known],
                [y for _, y in known],
                MARKERS[place % len(MARKERS)],
                ls="-",
                lw=0.8,
                color=colours[n],
                ms=4.5,
                label=f"N = {count(n)}",
            )
            if not known:
                continue
            axis.set(xscale="log", yscale="log")
        axis.set_xlabel(label)
        plain_ticks(axis)
    axes[0, 0].set_ylabel("validation loss [1]")
    if len(sizes) <= LEGEND_SIZES:
        axes[0, 2].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def savings_part(material: Material) -> Part:
    """FLOPs of the plan against the same runs without trunks."""
    title, anchor = "What trunks and branches save", "savings"
    plan = material.plan
    if not any(run.role == "trunk" for run in plan.runs):
        return Part(anchor, title, missing="This study has no trunks: every run is trained from its first step.")
    sizes = [run for run in plan.runs if run.role == "trunk"]
    rows = []
    for trunk in sizes:
        branches = [run for run in plan.runs if run.trunk == trunk.name]
        own = trunk.own_flops + sum(run.own_flops for run in branches)
        alone = sum(run.cost.flops for run in branches)
        rows.append((trunk.name, trunk.cost.parameters, len(branches), own, alone, 1 - own / alone if alone else None))
    planned, alone = _totals(plan)
    spent = sum(row.number("own_C") or 0.0 for row in material.rows)
    text = (
        f"The plan asks for {power(planned)} FLOPs; the same runs, each trained alone, would take {power(alone)}: "
        f"{share(1 - planned / alone)} are saved. So far {power(spent)} FLOPs are spent.",
    )
    columns = (
        Column("trunk", "trunk"),
        Column("parameters", "N", count),
        Column("branches", "branches"),
        Column("flops", "FLOPs with trunk", power),
        Column("flops_alone", "FLOPs trained alone", power),
        Column("saved", "saved", share),
    )
    caption = "FLOPs by size. A trunk with one branch saves nothing."
    return Part(anchor, title, text, sheets=(Sheet("savings", caption, columns, tuple(rows)),))


def _totals(plan: StudyPlan) -> tuple[int, int]:
    """FLOPs with trunks, and of all runs but the trunks alone."""
    return sum(run.own_flops for run in plan.runs), sum(run.cost.flops for run in plan.runs if run.role != "trunk")


def generalisation_part(material: Material) -> Part:
    """Training against validation loss: which sizes overfit, which do not fit yet."""
    title, anchor = "Training against validation loss", "generalisation"
    rows = [row for row in material.finished() if row.positive("loss") and row.positive("training_loss")]
    if not rows:
        command = material.command("start")
        return Part(
            anchor, title, missing="No finished run has both losses yet; this goes on with them:", command=command
        )
    gaps = [(row, (row.number("loss") or 0.0) / (row.number("training_loss") or 1.0) - 1) for row in rows]
    widest, gap = max(gaps, key=lambda pair: pair[1])
    of = f"of {widest.name} ({number(widest.number('epochs') or 0.0, 3)} epochs)"
    said = (
        f"The widest gap is {share(gap)}, {of}."
        if gap > 0
        else f"No validation loss lies above its training loss; that {of} lies least below it, by {share(-gap)}."
    )
    caption = (
        "Left: both losses at the end of each run. Right: how far the validation loss lies above the training loss, "
        "over size. A gap that grows with size or with epochs is overfitting; both losses high and equal is a model "
        f"too small or trained too briefly. Training losses are those of the last batches. {said}"
    )
    drawing = Drawing(
        "training_against_validation",
        _gap_figure(gaps),
        caption,
        f"Training and validation loss of {len(rows)} runs over model size.",
        ("run", "parameters", "epochs", "training_loss", "loss", "gap"),
        tuple(
            (row.name, *(row.number(key) for key in ("N", "epochs", "training_loss", "loss")), gap) for row, gap in gaps
        ),
    )
    return Part(anchor, title, drawings=(drawing,))


@styled
def _gap_figure(gaps: list[tuple[Row, float]]) -> Figure:
    figure, axes = new_figure(1, 2, height=3.6)
    left, right = axes[0]
    right.sharex(left)
    sizes = [row.number("N") for row, _ in gaps]
    for column, label, place in (("training_loss", "training", 5), ("loss", "validation", 0)):
        values = [row.number(column) for row, _ in gaps]
        left.plot(sizes, values, MARKERS[place], color=COLOURS[place], ms=5, mfc="none", label=label)
    left.set(xscale="log", yscale="log", xlabel="model size N [parameters]", ylabel="loss [1]")
    plain_ticks(left)
    left.legend()
    epochs = [row.number("epochs") or 0.0 for row, _ in gaps]
    points = right.scatter(sizes, [100 * gap for _, gap in gaps], c=epochs, cmap="cividis", s=32, edgecolor="#374151")
    figure.colorbar(points, ax=right, label="epochs")
    right.axhline(0, color="#374151", lw=0.8)
    right.set(xlabel="model size N [parameters]", ylabel="validation over training loss − 1 [%]")
    return figure

"""A plan for people, as a table with totals, and for programs, as CSV and JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from weather.presentation.writing import csv_text
from weather.runtime.progress import duration
from weather.study.design.totals import totals
from weather.study.planned import PlannedRun, StudyPlan

NO_RATE = (
    "not known; --probe measures some steps of each size here, --flops_per_second R takes a device's rate as given"
)
HEADINGS = ("size", "N", "budget", "D", "epochs", "steps", "its own", "peak rate", "GB a rank", "GB stored", "time")
WIDTHS = (10, 9, 10, 9, 7, 8, 8, 9, 9, 9, 10)


def plan_lines(plan: StudyPlan, rate_source: str) -> Iterator[str]:
    """The table by size and budget, then what the whole costs and what is remarkable.

    Args:
        rate_source: where the seconds come from, if they are known.
    """
    yield f"{plan.name}: {len(plan.runs)} runs" + (f", {len(plan.impossible)} impossible" if plan.impossible else "")
    yield _row(HEADINGS)
    seeds = sorted({int(run.labels["seed"]) for run in plan.runs})
    for run in plan.runs:
        if run.labels["seed"] == seeds[0]:
            yield _row(_cells(run))
            yield from (f"{'':12}! {flag}" for flag in run.flags)
    if len(seeds) > 1:
        yield f"the same for each of the seeds {', '.join(map(str, seeds))}"
    yield from (f"impossible: {each.name}: {each.reason}; {each.nearest}".rstrip("; ") for each in plan.impossible)
    yield ""
    sums = totals(plan)
    yield f"FLOPs      {sums.flops:.4g}"
    yield f"storage    {sums.storage_bytes / 1e9:.3g} GB of checkpoints"
    if sums.seconds is None:
        yield f"time       {NO_RATE}"
    else:
        yield f"time       {duration(sums.seconds)} of training steps, one run after the other; {rate_source}"
        yield f"node-hours {sums.node_hours:.4g}"
    yield from (f"note: {remark}" for remark in plan.remarks)
    flagged = sum(bool(run.flags) for run in plan.runs)
    if flagged:
        yield f"{flagged} of {len(plan.runs)} runs are flagged (!)"


def _cells(run: PlannedRun) -> tuple[str, ...]:
    cost = run.cost
    return (
        str(run.labels["size"]),
        f"{cost.parameters:.3g}",
        "trunk" if run.role == "trunk" else f"{run.labels['budget']:.4g}",
        f"{cost.samples:.3g}",
        f"{cost.epochs:.3g}",
        str(cost.steps),
        str(cost.steps - run.first_step),
        f"{run.config.training.learning_rate:.3g}",
        "" if cost.memory_bytes is None else f"{cost.memory_bytes / 1e9:.3g}",
        "" if cost.storage_bytes is None else f"{cost.storage_bytes / 1e9:.3g}",
        "?" if cost.seconds is None else duration(cost.seconds),
    )


def _row(cells: tuple[str, ...]) -> str:
    return " ".join(f"{cell:>{width}}" for cell, width in zip(cells, WIDTHS, strict=True)).rstrip()


def plan_rows(plan: StudyPlan) -> list[dict[str, Any]]:
    """One row a run: what it is, what it costs, what was remarked."""
    rows = []
    for run in plan.runs:
        training = run.config.training
        rows.append(
            {
                "name": run.name,
                "role": run.role,
                "trunk": run.trunk or "",
                "first_step": run.first_step,
                **run.labels,
                "budget": run.labels.get("budget", ""),
                **dataclasses.asdict(run.cost),
                "epochs": run.cost.epochs,
                "own_flops": run.own_flops,
                "learning_rate": training.learning_rate,
                "warmup_steps": training.warmup_steps,
                "num_nodes": run.num_nodes,
                "devices": run.devices,
                "flags": "; ".join(run.flags),
            }
        )
    return rows


def plan_csv(plan: StudyPlan) -> str:
    """The rows as CSV; what is not known is left empty."""
    rows = plan_rows(plan)
    return csv_text(list(rows[0]) if rows else ["name"], (list(row.values()) for row in rows))


def plan_json(plan: StudyPlan) -> dict[str, Any]:
    """The whole for programs."""
    return {
        "name": plan.name,
        "runs": plan_rows(plan),
        "impossible": [dataclasses.asdict(each) for each in plan.impossible],
        "remarks": list(plan.remarks),
        "totals": {**dataclasses.asdict(totals(plan)), "share_of_independent_flops": totals(plan).share},
    }

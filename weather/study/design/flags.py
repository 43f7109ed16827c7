"""What a plan remarks about its runs and budgets: what would be wasted, or would not tell what it is meant to tell."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from weather.study.design.description import StudyDescription
from weather.study.design.sizes import Expectation, Size
from weather.study.planned import PlannedRun
from weather.training.schedule import cooldown_steps

LONG_WARMUP = 0.5  # share of a run's steps


def run_flags(run: PlannedRun, description: StudyDescription) -> PlannedRun:
    """The run with what is remarkable about it."""
    cost, training, flags = run.cost, run.config.training, []
    memory = description.placement.memory_gigabytes
    if memory is not None and cost.memory_bytes is not None and cost.memory_bytes > memory * 1e9:
        flags.append(f"out of memory: about {cost.memory_bytes / 1e9:.3g} GB of {memory:g} GB")
    if run.role == "trunk":
        return dataclasses.replace(run, flags=tuple(flags))
    if cost.epochs > description.most_epochs:
        flags.append(f"data repeat: {cost.epochs:.3g} epochs, more than {description.most_epochs:g}")
    if cost.steps < description.fewest_steps:
        flags.append(f"few steps: {cost.steps}, fewer than {description.fewest_steps}")
    peak_steps = cost.steps - cooldown_steps(cost.steps, training.cooldown_fraction)
    if training.warmup_steps >= peak_steps:
        flags.append(
            f"never at its peak rate: {training.warmup_steps} steps of warm-up, cooldown after step {peak_steps}"
        )
    elif training.warmup_steps > LONG_WARMUP * cost.steps:
        flags.append(f"long warm-up: {training.warmup_steps} of {cost.steps} steps")
    return dataclasses.replace(run, flags=tuple(flags))


def budget_remarks(spent: Mapping[float, list[Size]], expectation: Expectation) -> list[str]:
    """Budgets whose optimum may not lie among their sizes.

    Args:
        spent: sizes of each budget.
    """
    doubts = {budget: expectation.doubt(sizes, budget) for budget, sizes in spent.items()}
    return [f"budget {budget:.4g} not bracketed: {doubt}" for budget, doubt in doubts.items() if doubt]

"""What a whole plan costs, and what trunks save."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from weather.study.planned import StudyPlan


@dataclass(frozen=True)
class Totals:
    """Sums over the runs of a plan.

    Attributes:
        flops: of all steps that are made.
        independent_flops: if each run were trained from its own start.
        storage_bytes: of all checkpoints that stay.
        seconds: of training, one run after the other; None where a run's are not known.
        node_hours: seconds times nodes.
    """

    runs: int
    flops: int
    independent_flops: int
    storage_bytes: int
    seconds: float | None
    node_hours: float | None

    @property
    def share(self) -> float:
        """FLOPs that are spent, as a share of those of independent runs."""
        return self.flops / self.independent_flops if self.independent_flops else math.nan


def totals(plan: StudyPlan) -> Totals:
    """Add up a plan."""
    seconds = [run.cost.seconds for run in plan.runs]
    known = [each for each in seconds if each is not None]
    complete = len(known) == len(seconds)
    return Totals(
        runs=len(plan.runs),
        flops=sum(run.own_flops for run in plan.runs),
        independent_flops=sum(run.cost.flops for run in plan.runs if run.role != "trunk"),
        storage_bytes=sum(run.cost.storage_bytes or 0 for run in plan.runs),
        seconds=sum(known) if complete else None,
        node_hours=sum(s * run.num_nodes for s, run in zip(known, plan.runs, strict=True)) / 3600 if complete else None,
    )


def remark_on_trunks(plan: StudyPlan) -> list[str]:
    """What trunks save, in a sentence; nothing where there are none."""
    if not any(run.role == "trunk" for run in plan.runs):
        return []
    sums = totals(plan)
    return [
        f"trunks and branches: {sums.flops:.4g} FLOPs, {sums.share:.1%} of the {sums.independent_flops:.4g} of "
        "independent runs"
    ]


def trunk_share(budgets: Sequence[float], cooldown_fraction: float) -> float:
    """FLOPs of one trunk with its branches over those of independent runs of the same budgets, but for rounding.

    The trunk reaches to the cooldown of the largest budget, and every branch pays for its own cooldown f:
    ((1 - f) max C + f sum C) / sum C. It is never below f, however many budgets share the trunk.
    """
    return ((1 - cooldown_fraction) * max(budgets) + cooldown_fraction * sum(budgets)) / sum(budgets)

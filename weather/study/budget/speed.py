"""How long an epoch takes on how many nodes: from given minutes, or from runs, which also tell how it scales."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from weather.errors import ConfigError
from weather.study.budget.calibration import Calibration

LINEAR = "linear, not measured"


@dataclass(frozen=True)
class Speed:
    """Seconds of an epoch by nodes.

    Between measured node counts, ln speed is a straight line in ln nodes. Above them the line of the last two goes on,
    but not steeper than in proportion; below them, speed is in proportion to nodes.

    Attributes:
        points: (nodes, seconds of an epoch) that are known, fewest nodes first.
        source: where they are from.
    """

    points: tuple[tuple[int, float], ...]
    source: str

    def seconds_per_epoch(self, nodes: int) -> float:
        """On so many nodes."""
        known = [(math.log(count), math.log(seconds)) for count, seconds in self.points]
        x = math.log(nodes)
        if len(known) == 1 or x <= known[0][0]:
            return math.exp(known[0][1] - (x - known[0][0]))
        right = next((index for index, (at, _) in enumerate(known) if x <= at), len(known))
        (x0, y0), (x1, y1) = known[min(right, len(known) - 1) - 1], known[min(right, len(known) - 1)]
        slope = (y1 - y0) / (x1 - x0)
        if right == len(known):
            return math.exp(y1 + max(slope, -1.0) * (x - x1))
        return math.exp(y0 + slope * (x - x0))

    def efficiency(self, nodes: int) -> float:
        """Speed for each node, over that of the fewest nodes that are known."""
        first_nodes, first = self.points[0]
        return first * first_nodes / (self.seconds_per_epoch(nodes) * nodes)

    def slowed(self, factor: float, source: str) -> Speed:
        """The same with epochs that take so many times as long."""
        return Speed(tuple((nodes, seconds * factor) for nodes, seconds in self.points), source)

    def rule(self, nodes: int) -> str:
        """Where the number for so many nodes is from."""
        counts = [count for count, _ in self.points]
        if nodes in counts:
            return self.source
        if len(counts) == 1:
            return LINEAR
        if nodes < counts[0]:
            return f"extrapolated below {counts[0]} nodes, in proportion"
        if nodes > counts[-1]:
            return f"extrapolated above {counts[-1]} nodes, by the line of ln speed in ln nodes from {counts[-2]}"
        return "interpolated in ln nodes"


def given_speed(minutes_per_epoch: float) -> Speed:
    """From minutes on one node."""
    return Speed(((1, minutes_per_epoch * 60),), "given")


def measured_speed(runs: Sequence[Calibration]) -> Speed:
    """From runs of the same epochs on different numbers of nodes; of several on as many, the median.

    Raises:
        ConfigError: the runs differ in more than nodes and batch.
    """
    first = runs[0]
    for run in runs[1:]:
        for what in ("flops_per_sample", "device", "precision", "devices_per_node"):
            before, now = getattr(first, what), getattr(run, what)
            if before != now:
                raise ConfigError(
                    f"{run.run} has {what} {now}, {first.run} has {before}",
                    where="--run",
                    rule="runs that tell how speed scales differ in their number of nodes, and perhaps in their batch",
                )
    by_nodes: dict[int, list[float]] = {}
    for run in runs:
        # A batch that does not divide the samples leaves a few out: the epoch of the first run is everyone's.
        seconds = run.seconds_per_epoch * first.samples_per_epoch / run.samples_per_epoch
        by_nodes.setdefault(run.nodes, []).append(seconds)
    return Speed(tuple(sorted((nodes, statistics.median(each)) for nodes, each in by_nodes.items())), "measured")


def runs_scaling(runs: Sequence[Calibration]) -> str:
    """What kind of scaling the runs show."""
    if len({run.nodes for run in runs}) == 1:
        return f"scaling with nodes: {LINEAR}"
    strong = len({run.batch_size for run in runs}) == 1
    return (
        "scaling with nodes: measured at the same batch (strong scaling)"
        if strong
        else "scaling with nodes: measured at batches that differ, and true for such batches only (weak scaling)"
    )

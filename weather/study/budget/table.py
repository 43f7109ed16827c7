"""``budget_table``: epochs by number of nodes and hours."""

from __future__ import annotations

import argparse
from typing import Any

from weather.config.shared_options import count, positive
from weather.errors import ConfigError
from weather.study.budget.answer import Answer, show
from weather.study.budget.options import add_command, add_speed, understand
from weather.study.budget.rounding import RULE, epochs_within, parts

HOURS = "0.5,1,2,4,8,24"


def add_parsers(kinds: Any) -> None:
    add = add_command(
        kinds,
        "budget_table",
        budget_table,
        text="epochs by number of nodes and hours",
        example="--min_nodes 1 --max_nodes 32 --minutes_per_epoch 30",
    )
    add("--min_nodes", type=count, default=1, metavar="N", help="fewest nodes (default: %(default)s)")
    add("--max_nodes", type=count, required=True, metavar="N", help="most nodes; between them each has twice as many")
    add("--time_budgets", default=HOURS, metavar="H,H,...", help="hours of the columns (default: %(default)s)")
    add_speed(add)


def node_counts(fewest: int, most: int) -> list[int]:
    """From the fewest on each twice the one before, and the most.

    Raises:
        ConfigError: the most are fewer than the fewest.
    """
    if most < fewest:
        raise ConfigError(f"--min_nodes {fewest} --max_nodes {most}", rule="the most are no fewer than the fewest")
    counts = []
    nodes = fewest
    while nodes < most:
        counts.append(nodes)
        nodes *= 2
    return [*counts, most]


def budget_table(options: argparse.Namespace) -> int:
    """Print the table."""
    budgets = [positive(text) for text in options.time_budgets.split(",")]
    counts = node_counts(options.min_nodes, options.max_nodes)
    request = understand(options)
    speed = request.known_speed()
    rows, cells_record, nodes_record = [], [], []
    chained = False
    for nodes in counts:
        seconds, limit = speed.seconds_per_epoch(nodes), request.limits.hours(nodes)
        cells = []
        for hours in budgets:
            epochs, jobs = epochs_within(hours, seconds), parts(hours, limit) if limit else None
            chained |= jobs is not None and jobs > 1
            cells.append(f"{epochs} /{jobs}" if jobs is not None and jobs > 1 else str(epochs))
            cells_record.append({"nodes": nodes, "hours": hours, "epochs": epochs, "jobs": jobs})
        longest = "not known" if limit is None else f"{limit:g} h"
        efficiency = speed.efficiency(nodes) if len(speed.points) > 1 else None  # one point tells nothing of it
        rows.append(
            [
                str(nodes),
                f"{seconds / 60:.4g}",
                "-" if efficiency is None else f"{efficiency:.0%}",
                speed.rule(nodes),
                longest,
                *cells,
            ]
        )
        nodes_record.append(
            {
                "nodes": nodes,
                "minutes_per_epoch": seconds / 60,
                "efficiency": efficiency,
                "speed": speed.rule(nodes),
                "max_hours": limit,
            }
        )
    columns = ["nodes", "min/epoch", "efficiency", "speed", "longest job", *(f"{hours:g} h" for hours in budgets)]
    notes = [*request.notes, RULE]
    if chained:
        notes.append("'12 /3': 12 epochs, but in 3 jobs one after the other, for a single one may not last so long")
    notes.append(f"longest jobs: {request.limits.source}")
    show(Answer(columns, rows, notes, {"nodes": nodes_record, "cells": cells_record}), options.json)
    return 0

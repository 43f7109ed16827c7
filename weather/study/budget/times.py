"""``time_to_epochs`` and ``epochs_to_time``."""

from __future__ import annotations

import argparse
from typing import Any

from weather.config.shared_options import count, positive
from weather.study.budget.answer import Answer, hours, show
from weather.study.budget.options import Request, add_command, add_speed, understand
from weather.study.budget.rounding import RULE, epochs_within


def add_parsers(kinds: Any) -> None:
    add = add_command(
        kinds, "time_to_epochs", time_to_epochs, text="how many epochs fit", example="--hours 4 --minutes_per_epoch 10"
    )
    add("--hours", type=positive, required=True, metavar="H", help="of training")
    _add_nodes(add)
    add_speed(add)
    add = add_command(
        kinds,
        "epochs_to_time",
        epochs_to_time,
        text="how long epochs take",
        example="--epochs 50 --minutes_per_epoch 10",
    )
    add("--epochs", type=count, required=True, metavar="N", help="of training")
    _add_nodes(add)
    add_speed(add)


def _add_nodes(add: Any) -> None:
    add("--nodes", type=count, metavar="N", help="(default: 1, or the run's)")


def time_to_epochs(options: argparse.Namespace) -> int:
    """Print how many epochs fit into some hours."""
    request = understand(options)
    nodes, seconds = _epoch_seconds(options, request)
    epochs = epochs_within(options.hours, seconds)
    rows = [("epochs that fit", str(epochs)), ("time left over", hours(options.hours * 3600 - epochs * seconds))]
    record = {"epochs": epochs, "hours": options.hours}
    _answer(options, request, nodes, seconds, epochs, rows, record)
    return 0


def epochs_to_time(options: argparse.Namespace) -> int:
    """Print how long some epochs take."""
    request = understand(options)
    nodes, seconds = _epoch_seconds(options, request)
    total = options.epochs * seconds
    rows = [("time", hours(total)), ("node-hours", f"{total / 3600 * nodes:.4g}")]
    record = {"epochs": options.epochs, "hours": total / 3600, "node_hours": total / 3600 * nodes}
    _answer(options, request, nodes, seconds, options.epochs, rows, record)
    return 0


def _epoch_seconds(options: argparse.Namespace, request: Request) -> tuple[int, float]:
    speed = request.known_speed()
    nodes = options.nodes or speed.points[0][0]
    return nodes, speed.seconds_per_epoch(nodes)


def _answer(
    options: argparse.Namespace,
    request: Request,
    nodes: int,
    seconds: float,
    epochs: int,
    rows: list[tuple[str, str]],
    record: dict[str, Any],
) -> None:
    rule = request.known_speed().rule(nodes)
    rows.append((f"an epoch on {nodes} node(s)", f"{hours(seconds)}, {rule}"))
    record |= {"nodes": nodes, "minutes_per_epoch": seconds / 60, "speed": rule}
    epoch_flops = request.epoch.flops if request.epoch else request.runs[0].flops_per_epoch if request.runs else None
    if epoch_flops is not None:
        rows.append(("FLOPs of all epochs", f"{epochs * epoch_flops:.4g}"))
        record["flops"] = epochs * epoch_flops
    if request.epoch is not None:
        rows.append(("steps of all epochs", str(epochs * request.epoch.steps)))
        record["steps"] = epochs * request.epoch.steps
    show(Answer(("quantity", "value"), rows, [*request.notes, RULE], record), options.json)

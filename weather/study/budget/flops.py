"""``flops_to_time`` and ``time_to_flops``."""

from __future__ import annotations

import argparse
from typing import Any

from weather.config.shared_options import count, positive
from weather.errors import ConfigError
from weather.study.budget.answer import Answer, hours, show
from weather.study.budget.calibration import probe
from weather.study.budget.options import Request, add_command, add_runs, understand
from weather.study.budget.rounding import RULE, minutes_up, parts, time_limit
from weather.study.budget.speed import LINEAR


def add_parsers(kinds: Any) -> None:
    add = add_command(
        kinds,
        "flops_to_time",
        flops_to_time,
        text="how long training FLOPs take",
        example="--flops 1e21 --nodes 16 --run runs/NAME",
    )
    add("--flops", type=positive, required=True, metavar="C", help="analytic, as metrics.jsonl counts them")
    _add_rate(add)
    add = add_command(
        kinds,
        "time_to_flops",
        time_to_flops,
        text="how many training FLOPs fit",
        example="--hours 12 --nodes 16 --run runs/NAME",
    )
    add("--hours", type=positive, required=True, metavar="H", help="of training")
    _add_rate(add)


def _add_rate(add: Any) -> None:
    add("--nodes", type=count, required=True, metavar="N", help="nodes")
    add("--flops_per_second", type=positive, metavar="R", help="that one device sustains, such as 3e13")
    add_runs(add)


def flops_to_time(options: argparse.Namespace) -> int:
    """Print how long a number of FLOPs takes."""
    request = understand(options)
    rate, rule = _rate(options, request)
    _answer(options, request, options.flops, options.flops / rate, rate, rule)
    return 0


def time_to_flops(options: argparse.Namespace) -> int:
    """Print how many FLOPs some hours hold."""
    request = understand(options)
    rate, rule = _rate(options, request)
    _answer(options, request, options.hours * 3600 * rate, options.hours * 3600, rate, rule)
    return 0


def _rate(options: argparse.Namespace, request: Request) -> tuple[float, str]:
    """FLOP/s of all devices together, and where they are from."""
    given = options.flops_per_second
    if given is not None and request.runs:
        raise ConfigError("--flops_per_second and --run", rule="the speed is given or measured, not both")
    devices = options.nodes * request.known_devices()
    if given is not None:
        return given * devices, f"{given:.4g} FLOP/s a device as given; {LINEAR}"
    if not request.runs:
        raise ConfigError(
            "how many FLOP/s a device sustains is not known",
            rule="--flops_per_second, or --run with the folder of a run",
            fix=f"measure it: {probe(str(request.config.experiment.name))}, then --run runs/probe",
        )
    speed = request.known_speed()
    epoch = request.epoch.flops if request.epoch else request.runs[0].flops_per_epoch
    return epoch / speed.seconds_per_epoch(options.nodes), speed.rule(options.nodes)


def _answer(
    options: argparse.Namespace, request: Request, flops: float, seconds: float, rate: float, rule: str
) -> None:
    nodes, devices = options.nodes, options.nodes * request.known_devices()
    limit = request.limits.hours(nodes)
    jobs = parts(seconds / 3600, limit) if limit else None
    rows = [
        ("FLOPs", f"{flops:.4g}"),
        ("time", f"{hours(seconds)} ({time_limit(minutes_up(seconds / 3600))} in whole minutes)"),
        ("node-hours", f"{seconds / 3600 * nodes:.4g}"),
        (f"FLOP/s of {nodes} node(s)", f"{rate:.4g}, {rule}"),
        ("FLOP/s a device", f"{rate / devices:.4g} of {devices} devices"),
        ("jobs, one after the other", "not known" if jobs is None else f"{jobs} of at most {limit:g} h"),
    ]
    record = {
        "flops": flops,
        "hours": seconds / 3600,
        "node_hours": seconds / 3600 * nodes,
        "nodes": nodes,
        "devices": devices,
        "flops_per_second": rate,
        "flops_per_second_per_device": rate / devices,
        "speed": rule,
        "jobs": jobs,
        "max_hours": limit,
    }
    if request.epoch is not None:
        rows.append(("epochs", f"{flops / request.epoch.flops:.4g}"))
        record["epochs"] = flops / request.epoch.flops
    notes = [*request.notes, RULE, f"longest jobs: {request.limits.source}"]
    if request.runs:
        notes.append("FLOP/s are over all hours, evaluations and checkpoints of the run's frequencies included")
    show(Answer(("quantity", "value"), rows, notes, record), options.json)

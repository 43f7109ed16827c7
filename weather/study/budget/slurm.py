"""``slurm_settings``: epochs, time limit and the line that submits them."""

from __future__ import annotations

import argparse
import math
import shlex
from typing import Any

from weather.config.files import DEFAULT_FILE
from weather.config.shared_options import count, positive
from weather.errors import ConfigError
from weather.study.budget.answer import Answer, hours, show
from weather.study.budget.options import Request, add_command, add_speed, understand
from weather.study.budget.rounding import RULE, epochs_within, minutes_up, parts, time_limit

BUFFER = 1.2


def add_parsers(kinds: Any) -> None:
    add = add_command(
        kinds,
        "slurm_settings",
        slurm_settings,
        text="epochs, time limit and an sbatch line",
        example="--hours 8 --nodes 4 --minutes_per_epoch 30",
    )
    add("--hours", type=positive, required=True, metavar="H", help="of training")
    add("--nodes", type=count, required=True, metavar="N", help="of the job")
    add(
        "--buffer_factor",
        type=positive,
        default=BUFFER,
        metavar="F",
        help="asked of SLURM over --hours, for start-up and slower steps (default: %(default)s)",
    )
    add("--account", metavar="PROJECT", help="that pays (default: what SBATCH_ACCOUNT says to sbatch)")
    add_speed(add)


def slurm_settings(options: argparse.Namespace) -> int:
    """Print what to ask of SLURM."""
    if options.buffer_factor < 1:
        raise ConfigError(f"--buffer_factor {options.buffer_factor:g}", rule="1 or more: less would cut epochs off")
    request = understand(options)
    speed, nodes, devices = request.known_speed(), options.nodes, request.known_devices()
    seconds = speed.seconds_per_epoch(nodes)
    epochs = epochs_within(options.hours, seconds)
    if epochs < 1:
        raise ConfigError(
            f"--hours {options.hours:g}: no epoch fits",
            rule=f"one takes {hours(seconds)} on {nodes} node(s), {speed.rule(nodes)}",
            fix="give more hours or nodes, or train fewer steps: --set training.max_steps",
        )
    whole = options.hours * options.buffer_factor
    limit = request.limits.hours(nodes)
    jobs = parts(whole, limit) if limit else 1
    minutes = minutes_up(whole) if jobs == 1 or limit is None else math.floor(limit * 60)
    notes = [*request.notes, RULE, f"longest jobs: {request.limits.source}"]
    line = _line(options, request, epochs, minutes, whole, notes)
    if jobs > 1:
        notes.append(
            f"{jobs} starts: no job may last longer, so the one job saves and requeues itself; each start costs a "
            "start-up and a save, which only the buffer pays for"
        )
    rows = [
        ("epochs", str(epochs)),
        (f"an epoch on {nodes} node(s)", f"{hours(seconds)}, {speed.rule(nodes)}"),
        ("time of the epochs", hours(epochs * seconds)),
        ("time with the buffer", hours(whole * 3600)),
        ("time limit of a job", time_limit(minutes)),
        ("jobs, one after the other", str(jobs) if limit else "1, for no limit is known"),
        ("most node-hours", f"{whole * nodes:.4g}"),
    ]
    record = {
        "epochs": epochs,
        "nodes": nodes,
        "devices_per_node": devices,
        "hours": options.hours,
        "minutes_per_epoch": seconds / 60,
        "speed": speed.rule(nodes),
        "time_limit": time_limit(minutes),
        "time_limit_minutes": minutes,
        "jobs": jobs,
        "max_hours": limit,
        "node_hours": whole * nodes,
        "sbatch": line,
    }
    show(Answer(("quantity", "value"), rows, notes, record, line), options.json)
    return 0


def _line(
    options: argparse.Namespace, request: Request, epochs: int, minutes: int, whole: float, notes: list[str]
) -> str:
    """The command, and notes of what it changes in the config."""
    site, devices, nodes = request.site, request.known_devices(), options.nodes
    words = ["sbatch"]
    if options.account:
        words += ["-A", options.account]
    elif site.needs_account:
        notes.append("the site wants an account: give --account, or set SBATCH_ACCOUNT")
    if options.partition:
        words += ["-p", options.partition]
    words += ["-N", str(nodes), "-t", time_limit(minutes)]
    words += [f"--ntasks-per-node={devices}" if site.devices == "cpu" else f"--gpus-per-node={devices}"]
    if site.devices == "gpu":
        words.append("--exclusive")
    words.append(site.script)
    if options.config is not None and options.config != str(DEFAULT_FILE):
        words += ["--config", options.config]
    words += ["--config_name", options.config_name or "base"]
    for override in options.overrides:
        words += ["--set", override]
    words += _to_fit_ranks(request, nodes * devices, notes)
    if site.devices == "cpu":
        words += ["--device", "cpu"]
    words += ["--set", f"training.epochs={epochs}", "--time_budget", f"{whole:.6g}"]
    if options.config_name is None:
        notes.append("no --config_name: the line trains config 'base'")
    for key in ("max_steps", "flops_budget"):
        value = request.config.get(f"training.{key}")
        if value is not None:
            notes.append(f"training.{key} = {value:g} of the config may end the run before its epochs")
    notes.append(
        f"--time_budget ends the run after {whole:.4g} h of training over all starts, so that a slower machine cannot "
        "spend more; the learning rate is planned for the epochs"
    )
    return shlex.join(words)


def _to_fit_ranks(request: Request, ranks: int, notes: list[str]) -> list[str]:
    """Options without which weather.train would refuse so many ranks."""
    section, words = request.config.training, []
    if section.strategy == "single" and ranks > 1:
        words += ["--strategy", "ddp"]
        notes.append(f"strategy 'single' is for one rank: the line takes ddp for {ranks}")
    micro = 1 if section.micro_batch_size == "auto" else int(section.micro_batch_size)
    if section.batch_size % (ranks * micro):
        batch = ranks * micro * parts(section.batch_size, ranks * micro)
        words += ["--set", f"training.batch_size={batch}"]
        notes.append(
            f"batch_size {section.batch_size} cannot be split over {ranks} ranks: the line sets {batch}, for which "
            f"learning_rate {section.learning_rate:g} was not chosen; choose both with --set"
        )
    return words

"""Options that all subcommands share, and what they come to: a speed, a config, a site."""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weather.config.files import load_config
from weather.config.shared_options import add_json, add_overrides, count, positive
from weather.config.wrapper import ConfigWrapper
from weather.errors import ConfigError
from weather.study.budget.calibration import Calibration, calibrate, probe
from weather.study.budget.epoch import Epoch, epoch_of
from weather.study.budget.site import Limits, Site, read_site
from weather.study.budget.speed import Speed, given_speed, measured_speed, runs_scaling


def add_command(kinds: Any, name: str, run: Any, *, text: str, example: str) -> Any:
    """A subcommand with the options that all of them have; gives its `add_argument`."""
    parser = kinds.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=f"example: python -m weather.budget {name} {example}",
        allow_abbrev=False,
    )
    parser.set_defaults(command=run)
    add = parser.add_argument
    add("--config", metavar="FILE", help="YAML file with named configs (default: configs/configs.yaml)")
    add("--config_name", metavar="NAME", help="the config to train: the size of its epoch is read from its archive")
    add_overrides(parser)
    add("--devices_per_node", type=count, metavar="N", help="ranks on a node (default: the run's, or the site's)")
    add("--site", default="frontier", metavar="NAME", help="of configs/sites/, or a YAML file (default: %(default)s)")
    add("--partition", metavar="NAME", help="of the site (default: its first)")
    add(
        "--max_walltime",
        type=positive,
        metavar="HOURS",
        help="longest job, instead of the site's (default: the site's)",
    )
    add_json(parser)
    return add


def add_speed(add: Any) -> None:
    """Options that say how long an epoch takes."""
    add("--minutes_per_epoch", type=positive, metavar="M", help="on one node; more nodes: linear, not measured")
    add_runs(add)


def add_runs(add: Any) -> None:
    add(
        "--run",
        action="append",
        type=Path,
        default=[],
        dest="runs",
        metavar="DIR",
        help="take the speed from this run's metrics; several, of different node counts, tell how it scales",
    )


@dataclass(frozen=True)
class Request:
    """What the options come to.

    Attributes:
        speed: None where it was not asked for by time.
        runs: that were measured.
        config: named, or base.
        epoch: of the named config; None where none was named or its archive is not here.
        devices: ranks on a node; None where nothing says.
        notes: what was assumed.
    """

    speed: Speed | None
    runs: tuple[Calibration, ...]
    config: ConfigWrapper
    epoch: Epoch | None
    site: Site
    limits: Limits
    devices: int | None
    notes: list[str] = field(default_factory=list)

    def known_speed(self) -> Speed:
        """The speed, which must have been given.

        Raises:
            ConfigError: it was not; says how to measure it.
        """
        if self.speed is None:
            raise ConfigError(
                "how long an epoch takes is not known",
                rule="--minutes_per_epoch on one node, or --run with the folder of a run",
                fix=f"measure it: {probe(str(self.config.experiment.name))}, then --run runs/probe",
            )
        return self.speed

    def known_devices(self) -> int:
        """Ranks on a node, which must be known.

        Raises:
            ConfigError: they are not.
        """
        if self.devices is None:
            raise ConfigError("how many ranks a node has is not known", fix="give --devices_per_node")
        return self.devices


def understand(options: argparse.Namespace) -> Request:
    """Read runs, config and site.

    Raises:
        WeatherError: one of them cannot be used, or they contradict each other.
    """
    minutes = getattr(options, "minutes_per_epoch", None)
    if minutes is not None and options.runs:
        raise ConfigError("--minutes_per_epoch and --run", rule="the speed is given or measured, not both")
    site = read_site(options.site)
    limits = Limits(site, options.partition, options.max_walltime)
    config = load_config(options.config, options.config_name or "base", options.overrides)
    runs = tuple(calibrate(folder) for folder in options.runs)
    devices = options.devices_per_node or (runs[0].devices_per_node if runs else site.devices_per_node)
    speed = given_speed(minutes) if minutes is not None else measured_speed(runs) if runs else None
    request = Request(speed, runs, config, None, site, limits, devices)
    if runs:
        _tell_runs(request)
    if options.config_name is not None:
        request = _with_epoch(request)
    return _with_devices(request)


def _tell_runs(request: Request) -> None:
    for run in request.runs:
        low, high = run.quartiles
        text = (
            f"{run.run}: {run.samples_per_second:.4g} samples/s, the median of {run.stretches} log lines (half within "
            f"{low:.4g} to {high:.4g}, together {run.overall_samples_per_second:.4g}), on {run.nodes} node(s), "
            f"{run.world_size} x {run.device}, {run.precision}"
        )
        pauses = (
            ("evaluation", run.evaluation_seconds, run.evaluations),
            ("checkpoint", run.checkpoint_seconds, run.checkpoints),
        )
        for what, seconds, per_epoch in pauses:
            if seconds is None:
                text += f"; no {what} was measured, and none is counted"
            else:
                text += f"; {what} {seconds:.3g} s, {per_epoch:.3g} an epoch"
        request.notes.append(text)
        if run.device == "cpu" and request.site.devices != "cpu":
            request.notes.append(f"{run.run} computed on a CPU: its speed says nothing of the site's GPUs")
    request.notes.append(runs_scaling(request.runs))


def _with_epoch(request: Request) -> Request:
    """The epoch of the named config; a run of another config lends its FLOP/s only."""
    epoch, name = epoch_of(request.config), request.config.experiment.name
    if epoch is None:
        if request.runs:
            raise ConfigError(
                f"no archive in '{request.config.data.data_dir}', so that the epoch of config '{name}' is not known",
                rule="a run's speed is for its own epoch; another config's follows from the FLOPs of both",
                fix="give --set data.data_dir=DIR, or leave --config_name out",
            )
        request.notes.append(f"no archive in '{request.config.data.data_dir}': the epoch's FLOPs are not known here")
        return request
    request.notes.append(
        f"config '{name}': an epoch is {epoch.samples} samples, {epoch.steps} steps, {epoch.flops:.4g} FLOPs"
    )
    speed = request.speed
    if speed is not None and request.runs and epoch.flops != request.runs[0].flops_per_epoch:
        ratio = epoch.flops / request.runs[0].flops_per_epoch
        speed = speed.slowed(ratio, "from the run's FLOP/s")
        request.notes.append(
            f"its epoch has {ratio:.4g} times the FLOPs of the run's: the same FLOP/s are assumed, not measured"
        )
    return dataclasses.replace(request, epoch=epoch, speed=speed)


def _with_devices(request: Request) -> Request:
    if request.speed is None or not request.runs or request.devices == request.runs[0].devices_per_node:
        return request
    assert request.devices is not None
    ratio = request.runs[0].devices_per_node / request.devices
    request.notes.append(
        f"{request.devices} ranks a node, the run had {request.runs[0].devices_per_node}: in proportion, not measured"
    )
    return dataclasses.replace(request, speed=request.speed.slowed(ratio, "in proportion to ranks"))

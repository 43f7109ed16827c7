"""What ``python -m weather.forecast`` does, in order: plan, forecast, verify, animate."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

import numpy as np

from weather.errors import ConfigError
from weather.forecasting.animation import Scene, animate, channel_index, check_animation
from weather.forecasting.ensemble_figure import draw_scores
from weather.forecasting.ensemble_report import print_scores, write_scores
from weather.forecasting.ensemble_skill import verify_ensemble
from weather.forecasting.output import Output
from weather.forecasting.production import Outcome, Task, produce
from weather.forecasting.request import COMMENT, Request, describe_leads
from weather.forecasting.stores import open_store
from weather.presentation.style import png
from weather.presentation.writing import write_bytes
from weather.runtime.ranks import Ranks, find_ranks
from weather.verification.leads import describe_initial_times


def forecast(options: argparse.Namespace) -> bool:
    """Do what a command line asks for; whether all forecasts are finite. All ranks call it together.

    Raises:
        WeatherError: something that is asked for cannot be done.
    """
    ranks = find_ranks()
    request = Request(
        runs=tuple(options.run),
        checkpoints=tuple(options.checkpoint),
        init=options.init,
        leads=options.leads,
        every=options.every,
        step=options.step,
        out=options.out,
        zarr_format=options.zarr_format,
        members=options.members,
        perturbation=options.perturbation,
        perturbation_scale=options.perturbation_scale,
        length_km=options.length_km,
        seed=options.seed,
        data_dir=options.data_dir,
        device=options.device,
        precision=options.precision,
        batch_size=options.batch_size,
    )
    task, output = request.plan(ranks)
    layout = output.layout
    if ranks.first:
        hours = [float(lead / np.timedelta64(3600, "s")) for lead in layout.leads]
        print(
            f"{len(layout.initial_times)} initial time(s), {layout.members} member(s), {describe_leads(hours)}: "
            f"{', '.join(variable.name for variable in layout.variables)}, {layout.bytes / 1e6:.1f} MB"
        )
        if COMMENT in layout.attributes:
            print(f"warning: {layout.attributes[COMMENT]}", file=sys.stderr)
    _check(options, task, output)
    outcome = produce(task, output, ranks, overwrite=options.overwrite)
    if ranks.first:
        print(f"forecast: {output.path}" + (" is complete already" if outcome.complete_before else ""))
        if outcome.blown_up:
            _report(outcome)
    if options.verify:
        _verify(task, output, ranks)
    if options.animate is not None and ranks.first:
        _animate(task, output, options.animate, options.animation)
    return not outcome.blown_up


def _check(options: argparse.Namespace, task: Task, output: Output) -> None:
    """Refuse what can only fail after the forecasts are made."""
    if options.verify and task.members < 2:
        raise ConfigError(
            "--verify of one member",
            rule="it scores ensembles",
            fix="ask for --members and --perturbation; python -m weather.evaluate verifies single forecasts",
        )
    if options.animate is not None:
        channel_index(output.layout, task.archive, options.animate)
        check_animation(_animation_path(output, options.animate, options.animation))
    elif options.animation is not None:
        raise ConfigError("--animation without --animate", fix="say which channel: --animate z500")


def _verify(task: Task, output: Output, ranks: Ranks) -> None:
    layout, device = output.layout, task.ensemble[0].model.forecaster.device.torch_device
    with contextlib.closing(open_store(output.path, layout)) as store:
        skill = verify_ensemble(store, layout, task.archive, layout.channels, ranks, device)
    if ranks.first:
        scores = output.path.with_name(f"{output.path.stem}_ensemble.json")
        write_scores(skill, scores)
        print_scores(skill)
        print(f"scores: {scores} and {scores.with_suffix('.csv').name}")
        figure = scores.with_suffix(".png")
        try:
            times = describe_initial_times(layout.initial_times)
            title = f"{layout.attributes['title']}: {skill.members} members, {times}"
            write_bytes(figure, png(draw_scores(skill, title)))
            print(f"figure: {figure}")
        except ConfigError as problem:  # the numbers are there
            print(f"warning: {problem}", file=sys.stderr)


def _animate(task: Task, output: Output, channel: str, path: Path | None) -> None:
    wanted = _animation_path(output, channel, path)
    title = task.ensemble[0].model.name
    with contextlib.closing(open_store(output.path, output.layout)) as store:
        made = animate(Scene(store, output.layout, task.archive, channel, title), wanted)
    print(f"animation: {made}")


def _animation_path(output: Output, channel: str, path: Path | None) -> Path:
    return path or output.path.with_name(f"{output.path.stem}_{channel}.gif")


def _report(outcome: Outcome) -> None:
    print(f"warning: {outcome.blown_up} forecast(s) blew up and are written as they are:", file=sys.stderr)
    for line in outcome.named:
        print(f"  {line}", file=sys.stderr)
    if outcome.blown_up > len(outcome.named):
        print(f"  and {outcome.blown_up - len(outcome.named)} more", file=sys.stderr)

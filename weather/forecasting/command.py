"""What ``python -m weather.forecast`` does, in order: plan, forecast, verify, animate."""

from __future__ import annotations

import argparse
import sys

import numpy as np

from weather.forecasting.production import produce
from weather.forecasting.request import Request, describe_leads
from weather.runtime.ranks import find_ranks

MOST_LINES = 10  # forecasts that blew up and are named


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
    blown_up = produce(task, output, ranks, overwrite=options.overwrite)
    if ranks.first:
        print(f"forecast: {output.path}" + (" is complete already" if blown_up is None else ""))
        if blown_up:
            _report(blown_up)
    return not blown_up


def _report(lines: list[str]) -> None:
    print(f"warning: {len(lines)} forecast(s) blew up and are written as they are:", file=sys.stderr)
    for line in lines[:MOST_LINES]:
        print(f"  {line}", file=sys.stderr)
    if len(lines) > MOST_LINES:
        print(f"  and {len(lines) - MOST_LINES} more", file=sys.stderr)

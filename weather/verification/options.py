"""Command-line options that say how forecasts are verified."""

from __future__ import annotations

import argparse
from typing import Any


def add_verification_options(arguments: argparse.ArgumentParser) -> None:
    """Add them to a command line."""
    add = arguments.add_argument_group("verification").add_argument
    add(
        "--leads",
        metavar="LEADS",
        help="hours or days, multiples of the model's own lead, such as 6h,1d,3d; all are verified from the initial "
        "times that have truth at the longest (default: the model's own)",
    )
    add("--step", metavar="LEAD", help="lead of one forecast, of a model with data.random_leads (default: data.dt)")
    add(
        "--baselines",
        default="persistence,climatology",
        metavar="NAMES",
        help="what the run is compared with, or none (default: %(default)s); also other runs, by their folders, such "
        "as persistence,runs/other: on the same initial times, with intervals of the paired differences. "
        "runs/other@last and runs/other@PATH name its checkpoint (default: best or last, as --checkpoint says)",
    )
    add(
        "--climatology",
        default="auto",
        choices=("auto", "window", "harmonic"),
        help="window: by day of year and hour with a window of 61 days, made once and kept beside the archive; "
        "harmonic: a mean and a few waves of year and day (default: window where the training years suffice)",
    )
    add("--regions", metavar="NAMES", help="such as global,tropics (default: all that the grid reaches)")
    add("--init_every", metavar="LEAD", help="only initial times at multiples of this, such as 12h: 00 and 12 UTC")
    add("--most", type=int, metavar="N", help="at most so many initial times, evenly spread (default: all)")
    add(
        "--bootstrap",
        type=int,
        default=1000,
        metavar="N",
        help="resamples of the initial times for intervals; 0: no intervals (default: %(default)s)",
    )
    add("--no-spectra", action="store_true", help="no zonal power spectra")


def verification_settings(options: argparse.Namespace) -> dict[str, Any]:
    """What they say, as `weather.training.evaluation.evaluate` takes it.

    Raises:
        ConfigError: something is written that is no lead, baseline or region.
    """
    # Here, so that --help does not wait for torch.
    from weather.verification.leads import parse_lead, parse_leads
    from weather.verification.scores import parse_baselines

    return {
        "leads": None if options.leads is None else parse_leads(options.leads),
        "step": None if options.step is None else parse_lead(options.step, "--step"),
        "baselines": parse_baselines(options.baselines),
        "climatology": options.climatology,
        "regions": None if options.regions is None else [name.strip() for name in options.regions.split(",")],
        "init_every": None if options.init_every is None else parse_lead(options.init_every, "--init_every"),
        "most": options.most,
        "replicates": options.bootstrap,
        "spectra": not options.no_spectra,
    }

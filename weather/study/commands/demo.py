"""``weather.scaling demo``: a whole study in minutes, from nothing."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from weather.errors import LaunchError
from weather.study.execution.options import add_execution_options, executor_from


def add_parser(kinds: Any) -> None:
    """The subcommand's options."""
    demo = kinds.add_parser(
        "demo",
        help="a whole study in minutes, to see everything at work",
        description="Make an archive of synthetic weather, plan a study of five or six sizes at each of four budgets, "
        "train it, fit the laws, foretell a run of twice the largest budget, train that run too, and write the "
        "report. Interrupted in any way, the same command goes on. Exit status: 0, or 3 if the run came out where it "
        "was not foretold, 1 if a run failed, 75 interrupted.",
        epilog="examples: python -m weather.scaling demo; python -m weather.scaling demo --small",
        allow_abbrev=False,
    )
    add = demo.add_argument
    add("--small", action="store_true", help="four small sizes, three budgets: a minute or two, and a rougher law")
    add("--experiments", type=Path, metavar="DIR", default=Path("experiments"), help="default: %(default)s")
    add("--data_dir", type=Path, metavar="DIR", help="of the archive (default: data/demo, data/demo_small)")
    add_execution_options(demo)
    demo.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Run the demo.

    Raises:
        WeatherError: options or folders that cannot be used.
    """
    if options.dry_run or options.no_wait:
        raise LaunchError("the demo needs its first runs to plan its last", fix="leave out --dry-run and --no-wait")
    from weather.study.demo import FULL, SMALL, run_demo

    return run_demo(
        SMALL if options.small else FULL,
        options.experiments,
        options.data_dir,
        executor_from(options),
        command=shlex.join(["python", "-m", "weather.scaling", *sys.argv[1:]]),
        device=options.device,
        retry=options.retry,
    )

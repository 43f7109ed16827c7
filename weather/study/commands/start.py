"""``weather.scaling start``: the runs of a planned study are trained."""

from __future__ import annotations

import argparse
from typing import Any

from weather.study.commands.named_study import add_study_argument, study_named
from weather.study.execution.options import add_execution_options, executor_from


def add_parser(kinds: Any) -> None:
    """The subcommand's options."""
    start = kinds.add_parser(
        "start",
        help="train the runs of a planned study",
        description="Train every run of a planned study, a branch as soon as its trunk has come to where it leaves. "
        "Interrupted in any way, the same command goes on: finished runs are kept, stopped ones resume, failed ones "
        "are shown with their reason and started again with --retry. Exit status: 0 all are finished, 1 some are not, "
        "75 interrupted.",
        epilog="examples: python -m weather.scaling start demo --at_once 2; "
        'python -m weather.scaling start demo --executor slurm --sbatch="-A project -t 2:00:00" --max_jobs 50',
        allow_abbrev=False,
    )
    add_study_argument(start)
    add_execution_options(start)
    start.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Train, or print the commands that would.

    Raises:
        WeatherError: no such study, or an executor that cannot serve here.
    """
    from weather.study.execution.conductor import commands, conduct

    folder, executor = study_named(options.study), executor_from(options)
    if options.dry_run:
        for line in commands(folder, executor, retry=options.retry):
            print(line)
        return 0
    return conduct(folder, executor, retry=options.retry, wait=not options.no_wait)

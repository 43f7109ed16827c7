"""Command-line options of every command that trains the runs of a study, and the executor that they ask for."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from weather.config.shared_options import add_device
from weather.errors import ConfigError

if TYPE_CHECKING:
    from weather.study.execution.contract import Executor


def add_execution_options(parser: argparse.ArgumentParser, *, planned: bool = True) -> None:
    """Add what `executor_from` reads, and --retry, --dry-run and --no-wait.

    Args:
        planned: whether the runs have a plan already, whose ranks and strategy may be replaced; else the command that
            plans them has a --strategy of its own.
    """
    group = parser.add_argument_group("execution")
    add = group.add_argument
    add("--executor", choices=("local", "slurm"), default="local", help="where runs are trained (default: %(default)s)")
    add(
        "--at_once",
        type=int,
        metavar="N",
        help="local: runs at a time, on equal shares of cores and GPUs (default: one a GPU, or one a core, 8 at most)",
    )
    if planned:
        add("--devices", type=int, metavar="D", help="ranks of each run on each node (default: as planned)")
        add("--strategy", metavar="NAME", help="parallel strategy of each run (default: its config's)")
    else:
        parser.set_defaults(devices=None)
    add_device(group)
    add("--retry", action="store_true", help="start failed runs again")
    add("--dry-run", action="store_true", help="print the commands that would be given, and end")
    add("--no-wait", action="store_true", help="slurm: submit what the queue takes, and leave")
    add(
        "--sbatch",
        metavar="OPTIONS",
        default="",
        help='slurm: options of sbatch, in one word: --sbatch="-A project -p batch -t 2:00:00"',
    )
    add(
        "--batch_script",
        type=Path,
        metavar="FILE",
        help="slurm: such as launch/frontier.sbatch (default: slurm.sbatch)",
    )
    add(
        "--max_jobs", type=int, metavar="N", help="slurm: jobs of yours in the queue at a time, tasks of arrays counted"
    )
    add(
        "--poll_seconds",
        type=float,
        metavar="S",
        default=10.0,
        help="slurm: between two looks at the queue (default: %(default)g)",
    )


def executor_from(options: argparse.Namespace) -> Executor:
    """The executor that the options ask for.

    Raises:
        ConfigError: options of one executor for the other, or ones that cannot be read.
    """
    from weather.study.execution.contract import TrainOptions
    from weather.study.execution.local import LocalExecutor
    from weather.study.execution.slurm import BATCH_SCRIPT, SlurmExecutor

    if (options.devices is not None and options.devices < 1) or not options.poll_seconds > 0:
        raise ConfigError(
            f"--devices {options.devices} --poll_seconds {options.poll_seconds:g}", rule="at least 1, and more than 0"
        )
    train = TrainOptions(options.devices, options.strategy, options.device)
    foreign = {
        "local": {"--sbatch": options.sbatch, "--batch_script": options.batch_script, "--max_jobs": options.max_jobs},
        "slurm": {"--at_once": options.at_once},
    }
    for name, value in foreign[options.executor].items():
        if value:
            raise ConfigError(f"{name} with --executor {options.executor}", rule="it means something to the other only")
    if options.executor == "local":
        return LocalExecutor(train, options.at_once)
    try:
        words = tuple(shlex.split(options.sbatch))
    except ValueError as error:
        raise ConfigError(f"--sbatch {options.sbatch!r} cannot be read ({error})") from error
    return SlurmExecutor(train, options.batch_script or BATCH_SCRIPT, words, options.max_jobs, options.poll_seconds)

"""``weather.scaling start``: the runs of a planned study are trained."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weather.errors import ConfigError
from weather.study.commands.named_study import add_study_argument, study_named
from weather.study.execution.options import add_execution_options, executor_from

if TYPE_CHECKING:
    from weather.study.folder import StudyFolder


def add_parser(kinds: Any) -> None:
    """The subcommand's options."""
    start = kinds.add_parser(
        "start",
        help="train the runs of a planned study",
        description="Train every run of a study, a branch as soon as its trunk has come to where it leaves; of a YAML "
        "file the study is planned first. Interrupted in any way, the same command goes on: finished runs are kept, "
        "stopped ones resume, failed ones are shown with their reason and started again with --retry. Exit status: 0 "
        "all are finished, 1 some are not, 75 interrupted.",
        epilog="examples: python -m weather.scaling start demo --at_once 2; "
        "python -m weather.scaling start configs/studies/synthetic.yaml; "
        'python -m weather.scaling start demo --executor slurm --sbatch="-A project -t 2:00:00" --max_jobs 50',
        allow_abbrev=False,
    )
    add_study_argument(start, more="; or the YAML file of one to plan")
    add_execution_options(start)
    start.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Train, or print the commands that would.

    Raises:
        WeatherError: no such study, one that cannot be planned, or an executor that cannot serve here.
    """
    from weather.study.execution.conductor import commands, conduct

    executor = executor_from(options)
    described = Path(options.study).suffix in (".yaml", ".yml")
    if described and options.dry_run:
        raise ConfigError(
            f"--dry-run of {options.study}, which is not planned yet",
            fix=f"python -m weather.scaling plan {options.study}, and then start NAME --dry-run",
        )
    folder = _planned(Path(options.study)) if described else study_named(options.study)
    if options.dry_run:
        for line in commands(folder, executor, retry=options.retry):
            print(line)
        return 0
    return conduct(folder, executor, retry=options.retry, wait=not options.no_wait)


def _planned(path: Path) -> StudyFolder:
    from weather.study.design.planning import make_plan, write_plan
    from weather.study.design.study_file import read_description
    from weather.study.folder import EXPERIMENTS, StudyFolder

    description = read_description(path)
    folder = StudyFolder(EXPERIMENTS / description.name)
    plan = make_plan(description, folder)
    print(f"planned: {len(plan.runs)} runs in {write_plan(plan, folder)}")
    return folder

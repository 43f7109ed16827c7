"""``weather.scaling report``: one page about a study, and its figures and tables as files."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from weather.errors import ConfigError


def add_parser(kinds: Any) -> None:
    """The subcommand's options."""
    report = kinds.add_parser(
        "report",
        help="write a report about a study",
        description="Collect the runs of a study, finished or not, and write one HTML page: a summary in words, fitted "
        "laws with their intervals, what cannot be told, costs, failures, and where every number comes from. The page "
        "needs no network and no other file; each figure is written as PNG and CSV beside it, and each table as CSV.",
        epilog="examples: python -m weather.scaling report experiments/compute_optimal; "
        "python -m weather.scaling report experiments/compute_optimal --flops 1e19 --out /tmp/report",
        allow_abbrev=False,
    )
    add = report.add_argument
    add("study", type=Path, metavar="STUDY", help="folder of the study, such as experiments/compute_optimal")
    add("--out", type=Path, metavar="DIR", help="folder to write to (default: report/ in the study's folder)")
    add("--flops", type=float, metavar="C", help="predict the best run of this budget (default: 4 x the largest)")
    add("--level", type=float, default=0.9, metavar="P", help="of the intervals (default: %(default)s)")
    add("--draws", type=int, default=400, metavar="N", help="fits an interval (default: %(default)s)")
    add("--seed", type=int, default=0, metavar="N", help="of the random numbers (default: %(default)s)")
    add("--json", action="store_true", help="print the paths of what was written as JSON")
    report.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Collect the runs, write the report, and say where.

    Raises:
        WeatherError: there is no study, options or a table that cannot be used, or a package is missing.
    """
    if not 0 < options.level < 1 or options.draws < 20 or (options.flops is not None and not options.flops > 0):
        raise ConfigError(
            f"--level {options.level:g} --draws {options.draws} --flops {options.flops}",
            rule="a level between 0 and 1, at least 20 draws, FLOPs greater than 0",
        )
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from weather.study.folder import StudyFolder
    from weather.study.report.report import STEPS, write_report
    from weather.study.results.collection import RUNS_FILE, collect_study, write_runs

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("collect", total=len(STEPS))
        folder = StudyFolder(options.study)
        write_runs(folder.path / RUNS_FILE, collect_study(folder))
        report = write_report(
            folder,
            options.out or options.study / "report",
            command=shlex.join(["python", "-m", "weather.scaling", *sys.argv[1:]]),
            flops=options.flops,
            level=options.level,
            draws=options.draws,
            seed=options.seed,
            done=lambda step: progress.update(task, advance=1, description=step),
        )
    if options.json:
        missing, files = list(report.missing), [str(path) for path in report.files]
        print(json.dumps({"page": str(report.page), "files": files, "missing": missing}, indent=1))
        return 0
    size = report.page.stat().st_size / 1e6
    print(f"{report.page}: {size:.1f} MB, with {len(report.files)} PNG and CSV files beside it")
    if report.missing:
        print(f"nothing to show yet: {', '.join(report.missing)}")
    return 0

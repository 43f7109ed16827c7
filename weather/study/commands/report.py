"""``weather.scaling report``: one page about a study, and its figures and tables as files."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from weather.config.shared_options import add_json
from weather.runtime.progress import progress_bar
from weather.study.commands.answer import tell
from weather.study.commands.named_study import add_study_argument, study_named
from weather.study.commands.table_options import add_intervals, add_most_epochs, check


def add_parser(kinds: Any) -> None:
    """The subcommand's options."""
    report = kinds.add_parser(
        "report",
        help="write a report about a study",
        description="Collect the runs of a study, finished or not, and write one HTML page: a summary in words, fitted "
        "laws with their intervals, what cannot be told, costs, failures, and where every number comes from. The page "
        "needs no network and no other file; each figure is written as PNG and CSV beside it, and each table as CSV.",
        epilog="examples: python -m weather.scaling report synthetic; "
        "python -m weather.scaling report synthetic --flops 1e19 --out /tmp/report",
        allow_abbrev=False,
    )
    add = report.add_argument
    add_study_argument(report)
    add("--out", type=Path, metavar="DIR", help="folder to write to (default: report/ in the study's folder)")
    add("--flops", type=float, metavar="C", help="predict the best run of this budget (default: 4 x the largest)")
    add_most_epochs(report)
    add_intervals(report)
    add_json(report)
    report.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Collect the runs, write the report, and say where.

    Raises:
        WeatherError: there is no study, options or a table that cannot be used, or a package is missing.
    """
    check(options)
    from weather.study.report.report import write_report
    from weather.study.results.collection import RUNS_FILE, collect_study, write_runs

    folder = study_named(options.study)
    with progress_bar("writing the report", unit="steps") as done:
        write_runs(folder.path / RUNS_FILE, collect_study(folder))
        report = write_report(
            folder,
            options.out or folder.path / "report",
            command=shlex.join(["python", "-m", "weather.scaling", *sys.argv[1:]]),
            flops=options.flops,
            most_epochs=options.most_epochs,
            level=options.level,
            draws=options.draws,
            seed=options.seed,
            done=done,
        )
    size = report.page.stat().st_size / 1e6
    lines = [f"{report.page}: {size:.1f} MB, with {len(report.files)} PNG and CSV files beside it"]
    if report.missing:
        lines.append(f"nothing to show yet: {', '.join(report.missing)}")
    record = {"page": str(report.page), "files": [str(path) for path in report.files], "missing": report.missing}
    tell(lines, record, options.json)
    return 0

"""``weather.scaling collect``: the table of runs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def add_parser(kinds: Any) -> None:
    """The subcommand's options."""
    collect = kinds.add_parser(
        "collect",
        help="collect the table of runs",
        description="Write one row a run: what it is, what it cost, what came out. Every run has a row, also those "
        "that failed or have not begun; one whose loss says nothing has a reason, and `fit` leaves it out. Of a "
        "branch, D, C and seconds count from the start of its trunk, own_C and own_seconds do not; rates are medians "
        "over logged steps without the first five after each start, training_loss is the mean over the last ten "
        "logged steps.",
        epilog="examples: python -m weather.scaling collect experiments/compute_optimal; "
        "python -m weather.scaling collect runs --out runs.csv",
        allow_abbrev=False,
    )
    add = collect.add_argument
    add("paths", type=Path, nargs="+", metavar="STUDY|RUN_FOLDER", help="a study, or runs, or folders of runs")
    add("--out", type=Path, metavar="FILE", help="default: runs.csv in the study's folder, else here")
    add("--json", action="store_true", help="print the rows as JSON")
    collect.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Collect, write, and say what would spoil a fit.

    Raises:
        WeatherError: a folder holds no run, or the table cannot be written.
    """
    from weather.errors import DataError
    from weather.study.results.collection import RUNS_FILE, collect, is_study, write_runs
    from weather.study.results.table import read_table
    from weather.study.results.text import plain, table_lines

    rows = collect(options.paths)
    out = options.out or (options.paths[0] / RUNS_FILE if is_study(options.paths[0]) else Path(RUNS_FILE))
    write_runs(out, rows)
    if options.json:
        print(json.dumps(plain(rows), indent=1))
        return 0
    states = [str(row["status"]) for row in rows]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    print(f"{out}: {len(rows)} runs: {counts}")
    try:
        table = read_table(out)
    except DataError as error:
        print(f"nothing to fit yet: {error}")
        return 0
    for line in table_lines(table):
        print(line)
    print(f"{len(table.runs)} runs can be fitted")
    return 0

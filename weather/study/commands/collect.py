"""``weather.scaling collect``: the table of runs."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from weather.config.shared_options import add_json
from weather.study.commands.answer import tell
from weather.study.commands.named_study import STUDY_HELP, path_named


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
        epilog="examples: python -m weather.scaling collect synthetic; "
        "python -m weather.scaling collect runs --out runs.csv",
        allow_abbrev=False,
    )
    add = collect.add_argument
    add(
        "paths",
        type=path_named,
        nargs="+",
        metavar="STUDY|RUNS",
        help=f"{STUDY_HELP}; or runs, or folders that hold runs",
    )
    add("--out", type=Path, metavar="FILE", help="default: runs.csv in the study's folder, else here")
    add_json(collect)
    collect.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Collect, write, and say what would spoil a fit.

    Raises:
        WeatherError: a folder holds no run, or the table cannot be written.
    """
    from weather.study.results.collection import RUNS_FILE, collect, is_study, write_runs

    rows = collect(options.paths)
    out = options.out or (options.paths[0] / RUNS_FILE if is_study(options.paths[0]) else Path(RUNS_FILE))
    write_runs(out, rows)
    tell(_lines(out, rows), rows, options.json)
    return 0


def _lines(out: Path, rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    from weather.errors import DataError
    from weather.study.results.table import read_table
    from weather.study.results.text import table_lines

    states = [str(row["status"]) for row in rows]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    yield f"{out}: {len(rows)} runs: {counts}"
    try:
        table = read_table(out)
    except DataError as error:
        yield f"nothing to fit yet: {error}"
        return
    yield from table_lines(table)
    yield f"{len(table.runs)} runs can be fitted"

"""``weather.scaling fit``: laws fitted to a table of runs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from weather.errors import ConfigError


def add_parser(kinds: Any) -> None:
    """The subcommand's options."""
    fit = kinds.add_parser(
        "fit",
        help="fit laws to a table of runs",
        description="Fit IsoFLOP curves, L(N, D) and L(C) to a CSV table with columns N, loss, and C or D (or both).",
        epilog="example: python -m weather.scaling fit runs.csv --flops 1e21 --json fit.json",
        allow_abbrev=False,
    )
    add = fit.add_argument
    add("table", type=Path, help="CSV file, one run a row; weather/study/results/table.py lists the column names")
    add("--flops", type=float, metavar="C", help="predict the best run of this budget")
    add("--level", type=float, default=0.9, metavar="P", help="of the intervals (default: %(default)s)")
    add("--draws", type=int, default=400, metavar="N", help="fits an interval (default: %(default)s)")
    add("--seed", type=int, default=0, metavar="N", help="of the random numbers (default: %(default)s)")
    add("--json", type=Path, metavar="FILE", help="write the result there too")
    fit.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Fit and print.

    Raises:
        WeatherError: options or a table that cannot be used.
    """
    if not 0 < options.level < 1 or options.draws < 20 or (options.flops is not None and not options.flops > 0):
        raise ConfigError(
            f"--level {options.level:g} --draws {options.draws} --flops {options.flops}",
            rule="a level between 0 and 1, at least 20 draws, FLOPs greater than 0",
        )
    from weather.study.fits.fit import fit_study
    from weather.study.results.table import read_table
    from weather.study.results.text import fit_json, fit_lines

    table = read_table(options.table)
    fit = fit_study(table.runs, flops=options.flops, level=options.level, draws=options.draws, seed=options.seed)
    for line in fit_lines(table, fit):
        print(line)
    if options.json is not None:
        options.json.write_text(json.dumps(fit_json(table, fit), indent=1) + "\n", encoding="utf-8")
    return 0

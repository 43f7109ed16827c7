"""Scaling studies: ``python -m weather.scaling fit runs.csv`` fits scaling laws to a table of runs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from weather.errors import ConfigError, command_line


def parser() -> argparse.ArgumentParser:
    """The command line."""
    arguments = argparse.ArgumentParser(prog="python -m weather.scaling", description=__doc__, allow_abbrev=False)
    kinds = arguments.add_subparsers(dest="kind", required=True, metavar="fit")
    fit = kinds.add_parser(
        "fit",
        help="fit laws to a table of runs",
        description="Fit IsoFLOP curves, L(N, D) and L(C) to a CSV table with columns N, loss, and C or D (or both).",
        epilog="example: python -m weather.scaling fit runs.csv --flops 1e21 --json fit.json",
    )
    fit.add_argument("table", type=Path, help="CSV file, one run a row; weather/study/table.py lists the column names")
    fit.add_argument("--flops", type=float, metavar="C", help="predict the best run of this budget")
    fit.add_argument("--level", type=float, default=0.9, metavar="P", help="of the intervals (default: %(default)s)")
    fit.add_argument("--draws", type=int, default=400, metavar="N", help="fits an interval (default: %(default)s)")
    fit.add_argument("--seed", type=int, default=0, metavar="N", help="of the random numbers (default: %(default)s)")
    fit.add_argument("--json", type=Path, metavar="FILE", help="write the result there too")
    return arguments


@command_line
def main() -> int:
    options = parser().parse_args()
    if not 0 < options.level < 1 or options.draws < 20 or (options.flops is not None and not options.flops > 0):
        raise ConfigError(
            f"--level {options.level:g} --draws {options.draws} --flops {options.flops}",
            rule="a level between 0 and 1, at least 20 draws, FLOPs greater than 0",
        )
    return fit_table(options)


def fit_table(options: argparse.Namespace) -> int:
    """Fit and print."""
    from weather.study.fit import fit_study
    from weather.study.fit_text import fit_json, fit_lines
    from weather.study.table import read_table

    table = read_table(options.table)
    fit = fit_study(table, flops=options.flops, level=options.level, draws=options.draws, seed=options.seed)
    for line in fit_lines(table, fit):
        print(line)
    if options.json is not None:
        options.json.write_text(json.dumps(fit_json(table, fit), indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    main()

"""``weather.scaling fit``: laws fitted to a table of runs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from weather.study.commands.table_options import add_intervals, add_table, check

FIT_FILE = "fit.json"


def add_parser(kinds: Any) -> None:
    """The subcommand's options."""
    fit = kinds.add_parser(
        "fit",
        help="fit laws to a table of runs",
        description="Fit IsoFLOP curves, L(N, D), L(C) and, where data repeat, L(N, D, U) to a study, or to a CSV "
        "table with columns N, loss, and C or D (or both). A study's result is written to its fit.json.",
        epilog="examples: python -m weather.scaling fit experiments/compute_optimal; "
        "python -m weather.scaling fit runs.csv --flops 1e21 --json fit.json",
        allow_abbrev=False,
    )
    add_table(fit)
    fit.add_argument("--flops", type=float, metavar="C", help="predict the best run of this budget")
    add_intervals(fit)
    fit.add_argument(
        "--json", type=Path, metavar="FILE", help="write the result there (a study: fit.json in its folder)"
    )
    fit.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Fit and print.

    Raises:
        WeatherError: options or a table that cannot be used.
    """
    check(options)
    from weather.study.fits.fit import fit_study
    from weather.study.results.study_table import find_study, table_of
    from weather.study.results.text import fit_json, fit_lines

    table = table_of(options.table, parameters=options.parameters, most_epochs=options.most_epochs)
    fit = fit_study(
        table.runs,
        flops=options.flops,
        level=options.level,
        draws=options.draws,
        seed=options.seed,
        seed_noise=table.seed_noise.deviation if table.seed_noise else 0.0,
    )
    for line in fit_lines(table, fit):
        print(line)
    study = find_study(options.table)
    path = options.json or (study.path / FIT_FILE if study else None)
    if path is not None:
        path.write_text(json.dumps(fit_json(table, fit), indent=1) + "\n", encoding="utf-8")
        print(f"\nwritten to {path}")
    return 0

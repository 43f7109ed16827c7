"""``weather.scaling fit``: laws fitted to a table of runs."""

from __future__ import annotations

import argparse
from typing import Any

from weather.config.shared_options import add_json
from weather.runtime.progress import progress_bar
from weather.study.commands.answer import tell, write_json
from weather.study.commands.table_options import add_intervals, add_table, check

FIT_FILE = "fit.json"


def add_parser(kinds: Any) -> None:
    """The subcommand's options."""
    fit = kinds.add_parser(
        "fit",
        help="fit laws to a table of runs",
        description="Fit IsoFLOP curves, L(N, D), L(C) and, where data repeat, L(N, D, U) to a study, or to a CSV "
        "table with columns N, loss, and C or D (or both). A study's result is written to its fit.json.",
        epilog="examples: python -m weather.scaling fit synthetic; "
        "python -m weather.scaling fit runs.csv --flops 1e21 --json fit.json",
        allow_abbrev=False,
    )
    add_table(fit)
    fit.add_argument("--flops", type=float, metavar="C", help="predict the best run of this budget")
    add_intervals(fit)
    add_json(fit)
    fit.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Fit and print.

    Returns:
        1 where the runs allow no law at all.

    Raises:
        WeatherError: options or a table that cannot be used.
    """
    check(options)
    from weather.study.fits.fit import fit_study
    from weather.study.results.study_table import find_study, table_of
    from weather.study.results.text import fit_json, fit_lines

    table = table_of(options.table, parameters=options.parameters, most_epochs=options.most_epochs)
    with progress_bar("fitting") as done:
        fit = fit_study(
            table.runs,
            flops=options.flops,
            level=options.level,
            draws=options.draws,
            seed=options.seed,
            seed_noise=table.seed_noise.deviation if table.seed_noise else 0.0,
            done=done,
        )
    lines, record = list(fit_lines(table, fit)), fit_json(table, fit)
    study = find_study(options.table)
    if study is not None:
        write_json(record, study.path / FIT_FILE)
        lines += ["", f"written to {study.path / FIT_FILE}"]
    tell(lines, record, options.json)
    return 0 if fit.laws or fit.isoflops else 1

"""``weather.scaling next``: the best run of a larger budget, planned and foretold."""

from __future__ import annotations

import argparse
from typing import Any

from weather.config.shared_options import add_json
from weather.runtime.progress import progress_bar
from weather.study.commands.answer import tell
from weather.study.commands.named_study import add_study_argument, study_named
from weather.study.commands.table_options import add_intervals, add_most_epochs, check


def add_parser(kinds: Any) -> None:
    """The subcommand's options."""
    following = kinds.add_parser(
        "next",
        help="plan the best run of a larger budget and register its prediction",
        description="Fit the finished runs of a study, find the best size for a larger budget, add this run to the "
        "plan and register what it will come to. It leaves the trunk of its size where that has ended, and is trained "
        "alone where there is none. `start` trains it, `score` compares.",
        epilog="example: python -m weather.scaling next demo --flops 9.6e11",
        allow_abbrev=False,
    )
    add_study_argument(following)
    following.add_argument("--flops", type=float, metavar="C", required=True, help="budget, beyond those of the grid")
    add_most_epochs(following)
    add_intervals(following)
    add_json(following)
    following.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Fit, plan, register and print.

    Raises:
        WeatherError: a study that cannot be fitted, or a run that has begun or is registered.
    """
    check(options)
    from weather.study.results.next_run import register_next_run
    from weather.study.results.prediction_text import prediction_json, prediction_lines

    folder = study_named(options.study)
    with progress_bar("fitting") as done:
        found = register_next_run(
            folder,
            budget=options.flops,
            most_epochs=options.most_epochs,
            level=options.level,
            draws=options.draws,
            seed=options.seed,
            done=done,
        )
    best = found.best.foretold.parameters
    lines = [
        *prediction_lines(found.table, found.prediction),
        f"  the best N of this budget is {best.estimate:.4g}, {best.low:.4g} to {best.high:.4g}",
        "",
        f"registered in {found.registered}",
        f"to train it: python -m weather.scaling start {folder.path}",
    ]
    tell(lines, prediction_json(found.table, found.prediction), options.json)
    return 0

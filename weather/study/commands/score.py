"""``weather.scaling score``: registered predictions beside what came out."""

from __future__ import annotations

import argparse
from typing import Any

from weather.config.shared_options import add_json
from weather.study.commands.answer import tell
from weather.study.commands.named_study import add_study_argument, study_named


def add_parser(kinds: Any) -> None:
    """The subcommand's options."""
    score = kinds.add_parser(
        "score",
        help="compare registered predictions with what came out",
        description="Compare every prediction of a study with its run, and write predictions/ID.score.json. One "
        "without a run of its own is judged by the best finished run of its budget. Exit status: 0 if all that can be "
        "scored lie inside their intervals, 3 if one lies outside, 1 if one was edited after it was registered.",
        epilog="example: python -m weather.scaling score synthetic",
        allow_abbrev=False,
    )
    add = score.add_argument
    add_study_argument(score)
    add("--id", nargs="+", default=[], metavar="ID", help="which predictions (default: all)")
    add_json(score)
    score.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Score, write and print.

    Raises:
        DataError: nothing is registered, or a prediction was edited.
    """
    import dataclasses

    from weather.study.results.prediction_text import score_lines
    from weather.study.results.scoring import exit_status, score_study

    scores = score_study(study_named(options.study), options.id)
    tell(score_lines(scores), [dataclasses.asdict(each) for each in scores], options.json)
    return exit_status(scores)

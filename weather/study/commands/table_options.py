"""Options that several commands share: which table, which N, how intervals are made."""

from __future__ import annotations

import argparse
import math

from weather.errors import ConfigError
from weather.study.commands.named_study import STUDY_HELP, path_named


def add_table(parser: argparse.ArgumentParser) -> None:
    """The table and how its columns are taken."""
    add = parser.add_argument
    add("table", type=path_named, metavar="STUDY|TABLE", help=f"{STUDY_HELP} (collected first); or a CSV file")
    add(
        "--parameters",
        choices=("total", "non_embedding"),
        default="total",
        help="which N: with or without patch embedding and positions (default: %(default)s)",
    )
    add_most_epochs(parser)


def add_most_epochs(parser: argparse.ArgumentParser) -> None:
    """From how many epochs on data count as repeated."""
    parser.add_argument(
        "--most_epochs",
        type=float,
        default=1.0,
        metavar="E",
        help="runs of up to E epochs count as seeing new data throughout (default: %(default)s; 4 costs little, "
        "arXiv 2305.16264)",
    )


def add_intervals(parser: argparse.ArgumentParser) -> None:
    """Level and bootstrap of the intervals."""
    add = parser.add_argument
    add("--level", type=float, default=0.9, metavar="P", help="of the intervals (default: %(default)s)")
    add("--draws", type=int, default=400, metavar="N", help="fits an interval (default: %(default)s)")
    add("--seed", type=int, default=0, metavar="N", help="of the random numbers (default: %(default)s)")


def check(options: argparse.Namespace) -> None:
    """Refuse values without a meaning, of those of these options that a command has.

    Raises:
        ConfigError: naming the option.
    """
    for name, valid, rule in (
        ("level", lambda level: 0 < level < 1, "a level between 0 and 1"),
        ("draws", lambda draws: draws >= 20, "at least 20 draws"),
        ("seed", lambda seed: seed >= 0, "0 or more"),
        ("most_epochs", lambda epochs: epochs >= 1, "at least 1 epoch"),
        ("flops", lambda flops: 0 < flops < math.inf, "FLOPs greater than 0, and finite"),
        ("flops_per_second", lambda rate: rate > 0, "greater than 0"),
    ):
        value = getattr(options, name, None)
        if value is not None and not valid(value):
            raise ConfigError(f"--{name} {value:g}", rule=rule)

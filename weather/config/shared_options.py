"""Options that several command lines have: each is written once, and so is called and explained alike."""

from __future__ import annotations

import argparse
from pathlib import Path

from weather.errors import ConfigError

PRINTED = "-"  # what `add_json` gives where no file is named
LARGEST = 1e30  # of a number on a command line: beyond, products overflow
MOST_COUNT = 10**9


def positive(text: str) -> float:
    """An argument that is a finite number greater than 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 / LARGEST < value < LARGEST:
        raise ConfigError(f"'{text}' on the command line", rule="a number greater than 0")
    return value


def count(text: str) -> int:
    """An argument that is a whole number greater than 0."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST_COUNT:
        raise ConfigError(f"'{text}' on the command line", rule="a whole number, 1 or more")
    return int(text)


def written_file(text: str) -> Path:
    """An argument that is a file to write, beside which others are written."""
    if text == PRINTED:
        raise ConfigError(f"'{text}' on the command line", rule="a file: others are written beside it")
    return Path(text)


def add_overrides(parser: argparse._ActionsContainer) -> None:
    """--set, for `load_config`."""
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="overrides",
        help="override one value, such as training.learning_rate=3e-4 or data.data_dir=DIR; repeatable",
    )


def add_device(parser: argparse._ActionsContainer, of: str = "") -> None:
    """--device, for `choose_device`.

    Args:
        of: the option that it belongs to, if it is one's alone.
    """
    text = f"of {of}: " if of else ""
    parser.add_argument(
        "--device", default="auto", metavar="D", help=f"{text}auto, cuda, rocm, mps or cpu (default: %(default)s)"
    )


def add_forecasts_at_once(parser: argparse._ActionsContainer) -> None:
    """--batch_size, of commands that forecast with a trained model."""
    parser.add_argument(
        "--batch_size", type=int, default=4, metavar="N", help="forecasts at once (default: %(default)s)"
    )


def add_restored_model(parser: argparse._ActionsContainer) -> None:
    """--device, --precision and --batch_size: how a trained model is computed with."""
    add_device(parser)
    parser.add_argument("--precision", metavar="P", help="auto, bf16, fp16 or fp32 (default: the run's)")
    add_forecasts_at_once(parser)


def add_json(parser: argparse._ActionsContainer) -> None:
    """--json: `PRINTED`, a file, or None."""
    parser.add_argument(
        "--json",
        nargs="?",
        const=PRINTED,
        metavar="FILE",
        help="for programs: printed instead of the text, or written to FILE beside it",
    )


def add_local_rank(parser: argparse._ActionsContainer) -> None:
    """--local_rank, which the DeepSpeed launcher passes, and nobody else."""
    parser.add_argument("--local_rank", "--local-rank", type=int, help=argparse.SUPPRESS)

"""Command-line options of the benchmarks."""

from __future__ import annotations

import argparse
from typing import Any

from weather.config.options import add_config_options
from weather.config.shared_options import count

EVALUATE = """\
Forecasts a second of the model alone, with reading, and with scores, on random states that are written first."""


def add_benchmarks(kinds: Any) -> None:
    """A subcommand for each."""
    step = _add(kinds, "step", "training step beside the best matrix product")
    _add_model(step, "base")
    _add_counts(step, rounds=(3, ""))

    strategy = _add(kinds, "strategy", "strategies beside steps written by hand, and ranks beside one")
    _add_model(strategy, "small")
    strategies = ("ddp", "fsdp", "deepspeed")
    strategy.add_argument("--strategies", nargs="+", default=strategies, metavar="NAME", help="(default: all three)")
    _add_counts(strategy, ranks=(2, "to start here"), rounds=(7, ""), steps=(2, "of a turn"))

    checkpoint = _add(kinds, "checkpoint", "saves beside the training and beside dd")
    _add_model(checkpoint, "small")
    _add_counts(checkpoint, rounds=(5, ""))
    _add_folder(checkpoint, "checkpoints are")

    evaluate = _add(kinds, "evaluate", "forecasts, reading and scores beside the model alone")
    evaluate.description = EVALUATE
    evaluate.epilog = "example: python -m weather.bench evaluate --config_name base --batch 4 --set num_workers=8"
    _add_model(evaluate, "small", "initial times at once")
    _add_counts(evaluate, batches=(4, "of a turn"), rounds=(3, ""))
    evaluate.add_argument(
        "--steps",
        type=count,
        nargs="+",
        default=[1, 4, 12, 20, 40],
        metavar="N",
        help="forecasts in a row that are scored (default: 6h, 1d, 3d, 5d and 10d at steps of 6 h)",
    )
    _add_folder(evaluate, "states are")

    loader = _add(kinds, "loader", "loader beside a plain read and memcpy")
    loader.add_argument(
        "--layout",
        default="contiguous",
        choices=("contiguous", "chunked", "gzip"),
        help="of the file (default: %(default)s)",
    )
    _add_counts(loader, states=(150, "in the file"), channels=(20, ""), height=(180, "latitudes"))
    _add_counts(loader, width=(360, "longitudes"), batch=(4, "samples a batch"), rounds=(5, ""))
    loader.add_argument("--threads", type=int, default=2, metavar="N", help="reader threads (default: %(default)s)")
    _add_folder(loader, "the file is")

    convert = _add(kinds, "convert", "conversion beside a plain copy of the same bytes, both onto the disk")
    convert.add_argument(
        "--source",
        default="netcdf",
        choices=("netcdf", "netcdf-compressed", "zarr", "zarr-compressed"),
        help="(default: %(default)s)",
    )
    _add_counts(convert, states=(200, "in the source"), levels=(19, "of one variable; another has none"))
    _add_counts(convert, height=(181, "latitudes"), width=(360, "longitudes"), workers=(1, "processes"), rounds=(3, ""))
    _add_folder(convert, "files are")


def _add(kinds: Any, name: str, text: str) -> argparse.ArgumentParser:
    benchmark: argparse.ArgumentParser = kinds.add_parser(name, help=text, allow_abbrev=False)
    return benchmark


def _add_model(parser: argparse.ArgumentParser, config_name: str, batch: str = "samples a step") -> None:
    add_config_options(parser, config_name=config_name)
    _add_counts(parser, batch=(1, batch))


def _add_counts(parser: argparse.ArgumentParser, **counts: tuple[int, str]) -> None:
    for name, (default, text) in counts.items():
        help_text = f"{text} (default: %(default)s)".strip()
        parser.add_argument(f"--{name}", type=count, default=default, metavar="N", help=help_text)


def _add_folder(parser: argparse.ArgumentParser, what: str) -> None:
    text = f"where {what} written (default: the system's temporary folder)"
    parser.add_argument("--folder", metavar="DIR", help=text)

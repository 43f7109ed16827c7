"""Command-line options of the benchmarks."""

from __future__ import annotations

import argparse
from typing import Any

from weather.config.options import add_config_options


def add_benchmarks(kinds: Any) -> None:
    """A subcommand for each."""
    step = kinds.add_parser("step", help="training step beside the best matrix product")
    _add_model(step, "base")
    step.add_argument("--rounds", type=int, default=3, metavar="N", help="(default: %(default)s)")
    strategy = kinds.add_parser("strategy", help="strategies beside steps written by hand, and ranks beside one")
    _add_model(strategy, "small")
    strategy.add_argument("--strategies", nargs="+", default=["ddp", "fsdp", "deepspeed"], metavar="NAME")
    strategy.add_argument("--ranks", type=int, default=2, metavar="N", help="to start here (default: %(default)s)")
    strategy.add_argument("--rounds", type=int, default=7, metavar="N", help="(default: %(default)s)")
    strategy.add_argument("--steps", type=int, default=2, metavar="N", help="of a turn (default: %(default)s)")
    checkpoint = kinds.add_parser("checkpoint", help="saves beside the training and beside dd")
    _add_model(checkpoint, "small")
    checkpoint.add_argument("--rounds", type=int, default=5, metavar="N", help="(default: %(default)s)")
    checkpoint.add_argument("--folder", help="where checkpoints are written (default: the system's temporary folder)")
    evaluate = kinds.add_parser(
        "evaluate",
        help="forecasts, reading and scores beside the model alone",
        description="Forecasts a second of the model alone, with reading, and with scores, on random states that are "
        "written first.",
        epilog="example: python -m weather.bench evaluate --config_name base --batch 4 --set num_workers=8",
        allow_abbrev=False,
    )
    _add_model(evaluate, "small", "initial times at once")
    evaluate.add_argument("--batches", type=int, default=4, metavar="N", help="of a turn (default: %(default)s)")
    evaluate.add_argument(
        "--steps",
        type=int,
        nargs="+",
        default=[1, 4, 12, 20, 40],
        metavar="N",
        help="forecasts in a row that are scored (default: 6h, 1d, 3d, 5d and 10d at steps of 6 h)",
    )
    evaluate.add_argument("--rounds", type=int, default=3, metavar="N", help="(default: %(default)s)")
    evaluate.add_argument("--folder", help="where states are written (default: the system's temporary folder)")
    loader = kinds.add_parser("loader", help="loader beside a plain read and memcpy")
    loader.add_argument("--layout", default="contiguous", choices=("contiguous", "chunked", "gzip"))
    loader.add_argument("--states", type=int, default=150, help="states in the file (default: %(default)s)")
    loader.add_argument("--channels", type=int, default=20, help="(default: %(default)s)")
    loader.add_argument("--height", type=int, default=180, help="latitudes (default: %(default)s)")
    loader.add_argument("--width", type=int, default=360, help="longitudes (default: %(default)s)")
    loader.add_argument("--batch", type=int, default=4, metavar="N", help="samples a batch (default: %(default)s)")
    loader.add_argument("--threads", type=int, default=2, metavar="N", help="reader threads (default: %(default)s)")
    loader.add_argument("--rounds", type=int, default=5, metavar="N", help="(default: %(default)s)")
    loader.add_argument("--folder", help="where the file is written (default: the system's temporary folder)")
    convert = kinds.add_parser("convert", help="conversion beside a plain copy of the same bytes, both onto the disk")
    convert.add_argument(
        "--source",
        default="netcdf",
        choices=("netcdf", "netcdf-compressed", "zarr", "zarr-compressed"),
        help="(default: %(default)s)",
    )
    convert.add_argument("--states", type=int, default=200, help="states in the source (default: %(default)s)")
    convert.add_argument(
        "--levels", type=int, default=19, help="of one variable; another has none (default: %(default)s)"
    )
    convert.add_argument("--height", type=int, default=181, help="latitudes (default: %(default)s)")
    convert.add_argument("--width", type=int, default=360, help="longitudes (default: %(default)s)")
    convert.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default: %(default)s)")
    convert.add_argument("--rounds", type=int, default=3, metavar="N", help="(default: %(default)s)")
    convert.add_argument("--folder", help="where files are written (default: the system's temporary folder)")


def _add_model(parser: argparse.ArgumentParser, config_name: str, batch: str = "samples a step") -> None:
    add_config_options(parser, config_name=config_name)
    parser.add_argument("--batch", type=int, default=1, metavar="N", help=f"{batch} (default: %(default)s)")

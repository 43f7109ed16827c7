"""Measure this machine and what the project makes of it: ``python -m weather.bench step``, and `loader`, `strategy`,
`checkpoint`, `convert`.

Rates are given beside what the same machine reaches by itself in the same run, because absolute numbers of a shared
or throttled machine say little.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from weather.config.files import load_config
from weather.config.options import add_config_options
from weather.errors import command_line
from weather.runtime.launch import start_ranks
from weather.runtime.ranks import find_ranks


def parser() -> argparse.ArgumentParser:
    """The command line."""
    arguments = argparse.ArgumentParser(prog="python -m weather.bench", description=__doc__, allow_abbrev=False)
    kinds = arguments.add_subparsers(dest="kind", required=True, metavar="step|loader|strategy|checkpoint|convert")
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
    return arguments  # fmt: skip


def _add_model(parser: argparse.ArgumentParser, config_name: str) -> None:
    add_config_options(parser, config_name=config_name)
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="samples a step (default: %(default)s)")


@command_line
def main() -> int:
    options = parser().parse_args()
    ranks = find_ranks()
    if options.kind == "strategy" and ranks.launcher == "single":
        return start_ranks(options.ranks, main, collects_signals=False)
    files = {"loader": measure_loader_of, "convert": measure_conversion_of}
    result = files.get(options.kind, measure_model_of)(options)
    if ranks.first:
        print(json.dumps(result, indent=1))
    return 0


def measure_model_of(options: argparse.Namespace) -> dict[str, Any]:
    """The benchmarks that train a model."""
    config = load_config(options.config, options.config_name, options.overrides)
    common = {"device": options.device, "batch": options.batch, "rounds": options.rounds}
    if options.kind == "step":
        from weather.benchmarks.step import measure_step

        return measure_step(config, **common)
    if options.kind == "checkpoint":
        from weather.benchmarks.checkpoint import measure_checkpoint

        return measure_checkpoint(config, folder=options.folder, **common)
    from weather.benchmarks.strategy import measure_strategies

    return measure_strategies(config, options.strategies, steps=options.steps, **common)


def measure_loader_of(options: argparse.Namespace) -> dict[str, Any]:
    """The benchmark of the loader."""
    from weather.benchmarks.loader import measure_loader

    return measure_loader(
        layout=options.layout,
        states=options.states,
        channels=options.channels,
        grid=(options.height, options.width),
        batch=options.batch,
        threads=options.threads,
        rounds=options.rounds,
        folder=options.folder,
    )


def measure_conversion_of(options: argparse.Namespace) -> dict[str, Any]:
    """The benchmark of the converter."""
    from weather.benchmarks.conversion import measure_conversion

    return measure_conversion(
        source=options.source,
        states=options.states,
        levels=options.levels,
        grid=(options.height, options.width),
        workers=options.workers,
        rounds=options.rounds,
        folder=options.folder,
    )


if __name__ == "__main__":
    main()

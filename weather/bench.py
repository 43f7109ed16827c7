"""Measure this machine and what the project makes of it: ``python -m weather.bench step``, and `loader`, `strategy`,
`checkpoint`, `evaluate`, `convert`.

Rates are given beside what the same machine reaches by itself in the same run, because absolute numbers of a shared
or throttled machine say little.
"""

from __future__ import annotations

import argparse
from typing import Any

from weather.benchmarks.options import add_benchmarks
from weather.config.files import load_config
from weather.errors import command_line
from weather.presentation.writing import json_text
from weather.runtime.launch import start_ranks
from weather.runtime.ranks import find_ranks


def parser() -> argparse.ArgumentParser:
    """The command line."""
    arguments = argparse.ArgumentParser(prog="python -m weather.bench", description=__doc__, allow_abbrev=False)
    kinds = "step|loader|strategy|checkpoint|evaluate|convert"
    add_benchmarks(arguments.add_subparsers(dest="kind", required=True, metavar=kinds))
    return arguments


@command_line
def main() -> int:
    options = parser().parse_args()
    ranks = find_ranks()
    if options.kind == "strategy" and ranks.launcher == "single":
        return start_ranks(options.ranks, main, collects_signals=False)
    files = {"loader": measure_loader_of, "convert": measure_conversion_of}
    result = files.get(options.kind, measure_model_of)(options)
    if ranks.first:
        print(json_text(result))
    return 0


def measure_model_of(options: argparse.Namespace) -> dict[str, Any]:
    """The benchmarks of a model."""
    config = load_config(options.config, options.config_name, options.overrides)
    common = {"device": options.device, "batch": options.batch, "rounds": options.rounds}
    if options.kind == "step":
        from weather.benchmarks.step import measure_step

        return measure_step(config, **common)
    if options.kind == "checkpoint":
        from weather.benchmarks.checkpoint import measure_checkpoint

        return measure_checkpoint(config, folder=options.folder, **common)
    if options.kind == "evaluate":
        from weather.benchmarks.evaluate import measure_evaluate

        where = {"batches": options.batches, "steps": sorted(set(options.steps)), "folder": options.folder}
        return measure_evaluate(config, **where, **common)
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

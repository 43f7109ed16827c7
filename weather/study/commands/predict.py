"""``weather.scaling predict``: the next run, before it is made."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from weather.config.shared_options import add_json
from weather.errors import ConfigError
from weather.runtime.progress import progress_bar
from weather.study.commands.answer import tell
from weather.study.commands.table_options import add_intervals, add_table, check


def add_parser(kinds: Any) -> None:
    """The subcommand's options."""
    predict = kinds.add_parser(
        "predict",
        help="foretell the next run",
        description="Fit L(N, D) and say what a run will come to: the best one of a budget (--flops), one of a given "
        "size (--flops with --parameters_at), a planned one (--run), or that of a config (--config, --config_name). "
        "The interval holds the loss of this single run, its own noise included; it is that of both fits' mean, "
        "from the scatter of the runs, and wider only where whole budgets lie off the law together.",
        epilog="examples: python -m weather.scaling predict synthetic --flops 1e14; "
        "python -m weather.scaling predict synthetic --run w32l2-c2.4e+12-seed42 --register; "
        "python -m weather.scaling predict runs.csv --flops 1e21 --max_flops 1e20 --flops_per_second 4e14 --nodes 2",
        allow_abbrev=False,
    )
    add_table(predict)
    add = predict.add_argument
    add("--flops", type=float, metavar="C", help="budget of the run")
    add("--parameters_at", type=float, metavar="N", help="its size; without: the best one")
    add("--run", metavar="NAME", help="a planned run of the study; it is held back from the fit")
    add("--config", type=Path, metavar="FILE", help="the run of a config, at its exact N and D")
    add("--config_name", metavar="NAME", help="which config of the file")
    add("--exclude", nargs="+", default=[], metavar="NAME", help="runs that are held back from the fit")
    add("--max_flops", type=float, default=float("inf"), metavar="C", help="hold back runs of more FLOPs")
    add(
        "--flops_per_second", type=float, metavar="R", help="of all devices together; without: as measured by the study"
    )
    add("--nodes", type=int, default=1, metavar="N", help="that reach this rate (default: %(default)s)")
    add_intervals(predict)
    add("--register", action="store_true", help="write predictions/ID.json before the run, for `score`")
    add("--not_blind", action="store_true", help="register although the run has begun; the file says so")
    add_json(predict)
    predict.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Foretell, print, register.

    Raises:
        WeatherError: options or a table that cannot be used, or a run that has begun.
    """
    check(options)
    asked = [name for name in ("flops", "run", "config") if getattr(options, name) is not None]
    if len(asked) != 1:
        raise ConfigError(f"{' and '.join(asked) or 'no run'} given", rule="one of --flops, --run, --config")
    from weather.config.files import load_config
    from weather.study.fits.foretelling import RunAhead
    from weather.study.results.prediction import (
        Rate,
        of_config,
        of_planned,
        of_size,
        predict,
        predictions_folder,
    )
    from weather.study.results.prediction_text import prediction_json, prediction_lines
    from weather.study.results.registration import register
    from weather.study.results.study_table import find_study, table_of

    study = find_study(options.table)
    plan = study.read_plan() if study else None
    if options.run is not None and plan is None:
        raise ConfigError("--run names a planned run", where=options.table, rule="a study's folder has a plan")
    table = table_of(options.table, parameters=options.parameters, most_epochs=options.most_epochs)
    held = [*options.exclude, *([options.run] if options.run in table.names else [])]
    table = table.without(held, options.max_flops)
    name = options.run or ""
    if plan is not None and options.run is not None:
        ahead = of_planned(plan, options.run, parameters=options.parameters)
    elif options.config is not None:
        config = load_config(options.config, options.config_name)
        ahead, name = of_config(config, parameters=options.parameters), str(config.experiment.name)
    elif options.parameters_at is not None:
        ahead = of_size(table, options.flops, options.parameters_at)
    else:
        ahead = RunAhead(options.flops)
    rate = None
    if options.flops_per_second is not None:
        rate = Rate(options.flops_per_second, options.nodes, "as given")
    with progress_bar("fitting") as done:
        prediction = predict(
            table,
            ahead,
            name=name,
            plan=plan if options.parameters == "total" else None,
            rate=rate,
            level=options.level,
            draws=options.draws,
            seed=options.seed,
            done=done,
        )
    lines = list(prediction_lines(table, prediction))
    if options.register:
        path = register(predictions_folder(options.table), prediction, table, study, not_blind=options.not_blind)
        lines += ["", f"registered in {path}"]
    tell(lines, prediction_json(table, prediction), options.json)
    return 0

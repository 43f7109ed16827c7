"""``weather.scaling calibrate``: the peak learning rate by size, from short runs of a few small sizes."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weather.config.shared_options import add_json
from weather.errors import ConfigError
from weather.study.commands.answer import tell, write_json

if TYPE_CHECKING:
    from weather.study.fits.learning_rate import RateFit

EXAMPLES = """\
example: three steps, the first and the last with the same command
  python -m weather.scaling calibrate configs/studies/synthetic.yaml
  python -m weather.scaling start experiments/synthetic-calibration
  python -m weather.scaling calibrate configs/studies/synthetic.yaml
Then `schedule: {learning_rate: calibrated}` in the study takes the rule, rate = c N^p.
"""


def add_parser(kinds: Any) -> None:
    """The subcommand's options."""
    calibrate = kinds.add_parser(
        "calibrate",
        help="opt-in: the learning rate by size, from short runs",
        description="Plan the calibration that a study's YAML file asks for; once its runs have ended, fit the best "
        "rate of each size and a power law through them, and write experiments/<study>/learning_rate.json.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = calibrate.add_argument
    add("study", type=Path, metavar="STUDY.yaml", help="description of the study, with a section `calibration`")
    add("--experiments", type=Path, metavar="DIR", help="folder of all studies (default: experiments)")
    add_json(calibrate)
    calibrate.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Plan, or fit what was trained.

    Raises:
        WeatherError: no calibration is described, or its optima lie at the edge of the rates that were tried.
    """
    from weather.presentation.writing import write_whole
    from weather.study.design.calibration import calibration_name, calibration_record, plan_calibration, rate_curves
    from weather.study.design.plan_text import plan_csv, plan_lines
    from weather.study.design.rates import LEARNING_RATE_FILE
    from weather.study.design.study_file import read_description
    from weather.study.fits.learning_rate import fit_learning_rates
    from weather.study.folder import EXPERIMENTS, StudyFolder

    description, experiments = read_description(options.study), options.experiments or EXPERIMENTS
    folder = StudyFolder(experiments / calibration_name(description.name))
    plan = plan_calibration(description, folder)
    if not plan.runs:
        raise ConfigError("no run of the calibration is possible", where=options.study, rule=plan.impossible[0].reason)
    folder.write_plan(plan)
    write_whole(folder.path / "plan.csv", plan_csv(plan))
    curves, waiting = rate_curves(plan, folder)
    if waiting:
        if len(waiting) == len(plan.runs):
            for line in plan_lines(plan, ""):
                print(line)
        print(f"{len(waiting)} of {len(plan.runs)} runs have not ended: {', '.join(waiting[:5])}")
        print(f"start them, then calibrate again: python -m weather.scaling start {folder.path}")
        return 0
    fit = fit_learning_rates(curves)
    record, target = calibration_record(plan, fit), experiments / description.name / LEARNING_RATE_FILE
    write_json(record, target)
    tell([*_lines(fit), f"written to {target}"], record, options.json)
    return 0


def _lines(fit: RateFit) -> Iterator[str]:
    for curve in fit.curves:
        found = curve.flaw if curve.optimum is None else f"best at {curve.optimum:.4g}, loss {curve.loss:.5g}"
        yield f"{curve.parameters:.4g} parameters, {len(curve.rates)} rates: {found}"
    yield f"learning rate = {fit.law.coefficient:.4g} N^{fit.law.exponent:.4f}"
    for remark in fit.remarks:
        yield f"note: {remark}"

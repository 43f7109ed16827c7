"""The learning-rate calibration of a study: a small study of its own, and what its runs have found."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np

from weather.errors import ConfigError, DataError
from weather.runtime.run_folder import METRICS_FILE, parse_records
from weather.study.design.costing import prepare_run
from weather.study.design.description import StudyDescription
from weather.study.design.plan import SPARE, base_config, planned_run
from weather.study.design.sizes import size_of
from weather.study.fits.learning_rate import RateCurve, RateFit, fit_rate_curve
from weather.study.folder import StudyFolder
from weather.study.planned import ImpossibleRun, PlannedRun, StudyPlan

FINISHED = ("complete", "max_steps", "flops_budget")


def calibration_name(study: str) -> str:
    """Of the study that calibrates another."""
    return f"{study}-calibration"


def plan_calibration(description: StudyDescription, folder: StudyFolder) -> StudyPlan:
    """Independent runs of each small size at each learning rate, all of one budget and with the first seed.

    Args:
        folder: of the calibration.

    Raises:
        WeatherError: the description asks for none, or cannot be planned.
    """
    wanted = description.calibration
    if wanted is None:
        raise ConfigError(
            "no calibration is asked for",
            where=f"study '{description.name}'",
            fix="calibration: {widths: [64, 128], budget: 1e12, learning_rates: {from: 3e-4, to: 1e-2, count: 6}}",
        )
    base = prepare_run(base_config(description)).config
    schedule = description.schedule
    found: list[PlannedRun | ImpossibleRun] = []
    for width in sorted(wanted.widths):
        size = size_of(description.family, width, base)
        steps = int(wanted.budget // (size.sample_flops * base.training.batch_size))
        warmup = schedule.warmup_steps if schedule.warmup_share is None else round(schedule.warmup_share * steps)
        for rate in wanted.learning_rates.values():
            values = {
                **SPARE,
                **size.settings(),
                "training.schedule": "wsd",
                "training.cooldown_fraction": schedule.cooldown_fraction,
                "training.warmup_steps": warmup,
                "training.learning_rate": rate,
                "training.seed": description.seeds[0],
                "training.flops_budget": wanted.budget,
                "training.epochs": steps + 1,
            }
            labels = {"size": size.label, "budget": wanted.budget, "seed": description.seeds[0], "learning_rate": rate}
            name = f"{size.label}-rate{rate:.4g}"
            found.append(planned_run(base.replace(values), name, labels, description, folder))
    return StudyPlan(
        name=calibration_name(description.name),
        kind="budgets",
        request=description.model_dump(mode="json", by_alias=True),
        runs=tuple(each for each in found if isinstance(each, PlannedRun)),
        impossible=tuple(each for each in found if isinstance(each, ImpossibleRun)),
    )


def final_loss(run: Path) -> float | None:
    """Validation loss at the end of a run; infinite if it diverged, None if it has not ended.

    Raises:
        DataError: its records cannot be read.
    """
    path = run / METRICS_FILE
    try:
        records = list(parse_records(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read ({error})", where=path) from error
    stop = next((record for record in reversed(records) if record["event"] == "stop"), None)
    if stop is None:
        return None
    if stop["reason"] == "nonfinite":
        return math.inf
    if stop["reason"] not in FINISHED:
        return None
    losses = [
        record["loss"] for record in records if record["event"] == "validation" and record["step"] == stop["step"]
    ]
    return math.inf if not losses or losses[-1] is None else float(losses[-1])


def rate_curves(plan: StudyPlan, folder: StudyFolder) -> tuple[list[RateCurve], list[str]]:
    """The curve of each size, and the names of runs that have not ended."""
    losses = {run.name: final_loss(folder.run(run.name)) for run in plan.runs}
    waiting = [name for name, loss in losses.items() if loss is None]
    curves = []
    for size in dict.fromkeys(run.labels["size"] for run in plan.runs):
        mine = [run for run in plan.runs if run.labels["size"] == size and losses[run.name] is not None]
        rates = np.array([run.labels["learning_rate"] for run in mine], float)
        found = np.array([losses[run.name] for run in mine], float)
        if mine:
            curves.append(fit_rate_curve(float(mine[0].cost.parameters), rates, found))
    return curves, waiting


def calibration_record(plan: StudyPlan, fit: RateFit) -> dict[str, Any]:
    """What learning_rate.json holds: rate = law.coefficient * N ** law.exponent, and all that it comes from."""
    return {
        "law": {"coefficient": fit.law.coefficient, "exponent": fit.law.exponent},
        "study": plan.name,
        "budget": plan.runs[0].labels["budget"],
        "curves": [
            {**dataclasses.asdict(curve), "rates": curve.rates.tolist(), "losses": curve.losses.tolist()}
            for curve in fit.curves
        ],
        "remarks": list(fit.remarks),
    }

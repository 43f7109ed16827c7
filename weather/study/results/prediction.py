"""A run before it is made: its size, samples, steps, loss with interval, and what it will take."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from weather.config.wrapper import ConfigWrapper
from weather.errors import ConfigError, WeatherError, did_you_mean
from weather.study.design.description import StudyDescription
from weather.study.design.next_run import size_nearest_to
from weather.study.fits.foretelling import Foretold, RunAhead, foretell
from weather.study.one_forecast import require_one_forecast
from weather.study.planned import StudyPlan
from weather.study.results.table import Table
from weather.training.preparation import prepare

METHOD = (
    "L(N, D) = E + A / N^alpha + B / D^beta by the Huber loss of ln L and by least squares, geometric mean of both; "
    "interval of the error of predicting one run, by parametric bootstrap over runs; where the mean residuals of "
    "budgets differ by more than noise (F test), the wider of this and a jackknife by budget"
)
NEAR = 1.5  # a planned size within this factor of the best one is named


@dataclass(frozen=True)
class Rate:
    """How fast a run will be.

    Attributes:
        flops_per_second: of all devices together.
        nodes: that it runs on.
        source: a measured run, or the user.
    """

    flops_per_second: float
    nodes: int
    source: str


@dataclass(frozen=True)
class Nearest:
    """A size that a study can train.

    Attributes:
        label: of the size in its family; empty where only its plan is known.
        parameters: N, with embeddings.
        samples: D that the budget pays for.
        planned: whether the study has runs of it.
    """

    label: str
    parameters: float
    samples: float
    planned: bool


@dataclass(frozen=True)
class Prediction:
    """What is foretold of a run.

    Attributes:
        name: of the run; empty where it is the best one of a budget.
        ahead: the run.
        foretold: its loss, and N and D where they are sought.
        fitted, held_back: names of the runs that were fitted, and of those that were kept out.
        batch_size: samples a step; None where it is not known.
        rate: None where none was measured or given.
        nearest: the size that can be trained next to the best one; None where none is known.
        validation_set: of the fitted runs; empty where it is not known.
        remarks: about the runs, and on what the answer rests.
    """

    name: str
    ahead: RunAhead
    foretold: Foretold
    fitted: tuple[str, ...]
    held_back: tuple[str, ...]
    batch_size: int | None
    rate: Rate | None
    nearest: Nearest | None
    validation_set: str
    remarks: tuple[str, ...]

    @property
    def steps(self) -> int | None:
        return None if self.batch_size is None else max(1, round(self.foretold.samples.estimate / self.batch_size))

    @property
    def epochs(self) -> float | None:
        return None if self.ahead.unique is None else self.foretold.samples.estimate / self.ahead.unique

    @property
    def seconds(self) -> float | None:
        """Of the training steps; evaluations and checkpoints come on top."""
        return None if self.rate is None else self.ahead.flops / self.rate.flops_per_second

    @property
    def node_hours(self) -> float | None:
        return None if self.rate is None or self.seconds is None else self.seconds / 3600 * self.rate.nodes


def predict(
    table: Table,
    ahead: RunAhead,
    *,
    name: str = "",
    plan: StudyPlan | None = None,
    rate: Rate | None = None,
    batch_size: int | None = None,
    level: float = 0.9,
    draws: int = 400,
    seed: int = 0,
    done: Callable[[int, int], None] = lambda fits, of: None,
) -> Prediction:
    """Fit a table and foretell a run; the run itself must not be among those that are fitted.

    Args:
        table: after `Table.without`.
        ahead: the run; where it has no U, that of the table's runs is taken if they have one.
        name: of the run, if it is a certain one.
        plan: of the study, whose family can be had; None: no size is named beside the best one.
        rate: None: that of the table's run which is nearest in size, if it was measured.
        batch_size: None: that of most runs.
        level, draws, seed, done: as in `fit_study`.

    Raises:
        ConfigError: the run is among those that are fitted.
        DataError: the runs cannot be fitted.
    """
    if name in table.names:
        raise ConfigError(f"'{name}' is among the runs that are fitted", rule="what is known cannot be foretold")
    if ahead.unique is None:
        common = _common(table, "u")
        ahead = replace(ahead, unique=float(common) if common else None)
    ahead = replace(ahead, most_epochs=table.most_epochs)
    noise = table.seed_noise.deviation if table.seed_noise else 0.0
    foretold = foretell(table.runs, ahead, level=level, draws=draws, seed=seed, seed_noise=noise, done=done)
    batch = _common(table, "batch_size")
    return Prediction(
        name,
        ahead,
        foretold,
        table.names,
        tuple(run for run, reason in table.left_out if reason == "held back"),
        batch_size or (int(float(batch)) if batch else None),
        rate or measured_rate(table, foretold.parameters.estimate),
        None if plan is None or ahead.parameters is not None else _nearest(plan, ahead, foretold),
        _common(table, "validation_set"),
        table.remarks + foretold.remarks,
    )


def of_planned(plan: StudyPlan, name: str, *, parameters: str = "total") -> RunAhead:
    """A run of a study at its exact N, D and C.

    Raises:
        ConfigError: the study has no such run.
    """
    names = [run.name for run in plan.runs]
    if name not in names:
        raise ConfigError(
            f"no run '{name}' in the study '{plan.name}'",
            rule=f"one of {', '.join(names)}",
            fix=did_you_mean(name, names),
        )
    cost = plan.run(name).cost
    size = cost.parameters if parameters == "total" else cost.non_embedding_parameters
    return RunAhead(float(cost.flops), float(size), float(cost.samples), float(cost.unique_samples))


def of_config(config: ConfigWrapper, *, parameters: str = "total") -> RunAhead:
    """The run of a config at its exact N, D and C; opens its archive.

    Raises:
        ConfigError, DataError: the config or the archive cannot be used.
    """
    require_one_forecast(config)
    prepared = prepare(config)
    samples = prepared.length.total_steps * config.training.batch_size
    cost = prepared.cost
    size = cost.parameters if parameters == "total" else cost.non_embedding_parameters
    return RunAhead(float(cost.train_flops * samples), float(size), float(samples), float(len(prepared.training)))


def of_size(table: Table, flops: float, parameters: float) -> RunAhead:
    """A run of that size and budget; D = C / (k N) with k of the table."""
    return RunAhead(flops, parameters, flops / (table.runs.flops_per_product * parameters))


def measured_rate(table: Table, parameters: float) -> Rate | None:
    """That of the run which is nearest in size, as it was measured; None where none was."""
    found: list[tuple[float, Rate]] = []
    for name, size, row in zip(table.names, table.runs.parameters, table.rows, strict=True):
        if row.get("tflops") and row.get("world_size"):
            total = float(row["tflops"]) * 1e12 * float(row["world_size"])
            source = f"{name}: {float(row['tflops']):.3g} TFLOP/s on each of {row['world_size']} x {row.get('device')}"
            distance = abs(float(np.log(size / parameters)))
            found.append((distance, Rate(total, int(float(row.get("nodes") or 1)), source)))
    return min(found, key=lambda each: each[0])[1] if found else None


def _common(table: Table, column: str) -> str:
    """What stands in a column of most runs; empty where the table has no such column."""
    values = [row[column] for row in table.rows if row.get(column)]
    return statistics.mode(values) if values else ""


def _nearest(plan: StudyPlan, ahead: RunAhead, foretold: Foretold) -> Nearest | None:
    """The model of the study's family that is nearest to the best size; it can be trained, planned or not."""
    best = foretold.parameters.estimate
    planned = {run.cost.parameters: run.cost.flops / run.cost.samples for run in plan.runs}
    if plan.kind == "budgets":
        try:
            size = size_nearest_to(StudyDescription.model_validate(plan.request), best)
        except (WeatherError, ValidationError):  # the base config or the archive has gone: what was planned remains
            pass
        else:
            known = size.parameters in planned
            return Nearest(size.label, float(size.parameters), ahead.flops / size.sample_flops, known)
    about = [size for size in planned if abs(np.log(size / best)) < np.log(NEAR)]
    if not about:
        return None
    size_ = min(about, key=lambda size: abs(np.log(size / best)))
    return Nearest("", float(size_), ahead.flops / planned[size_], True)


def predictions_folder(path: Path) -> Path:
    """Where the predictions about a study, or beside a table, lie."""
    return (path if path.is_dir() else path.parent) / "predictions"

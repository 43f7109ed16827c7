"""The scores of an evaluated run: a table on the console for each lead, and JSON beside what it was made from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from weather.training.evaluation import Evaluation
from weather.verification.leads import describe_lead
from weather.verification.scores import BASELINES, MODEL, Scores


def origin_file(scores: Path) -> Path:
    """Where it stands what scores were made from: ``scores_test.json`` has ``scores_test.origin.json``."""
    return scores.with_suffix(".origin.json")


def write_scores(evaluation: Evaluation, path: Path) -> None:
    """Write ``{channel: {lead hours: {model | persistence | climatology: {rmse, mae, bias, acc}}}}``, and origin."""
    path.parent.mkdir(parents=True, exist_ok=True)
    origin_file(path).unlink(missing_ok=True)  # an interruption leaves scores without origin, not with another's
    path.write_text(json.dumps(evaluation.scores.as_dict(), indent=1, allow_nan=False), encoding="utf-8")
    origin_file(path).write_text(json.dumps(_origin(evaluation), indent=1), encoding="utf-8")


def _origin(evaluation: Evaluation) -> dict[str, Any]:
    """Of what the scores are: checkpoint, archive, initial times, units; what became of the forecasts by lead."""
    scores, checkpoint = evaluation.scores, evaluation.forecaster.checkpoint
    return {
        "run": evaluation.name,
        "checkpoint": checkpoint.path.name,
        "step": checkpoint.progress.step,
        "archive": str(evaluation.archive.data_dir),
        "split": evaluation.samples.split.name,
        "model_lead_hours": evaluation.samples.split.step_hours * evaluation.samples.dt,
        "samples": scores.samples,
        "blown_up": {f"{h:g}": int(n) for h, n in zip(scores.lead_hours, scores.blown_up, strict=True)},
        "units": dict(zip(scores.channels, scores.units, strict=True)),
        "climatology": evaluation.climatology.describe(),
    }


def print_scorecard(evaluation: Evaluation) -> None:
    """RMSE of model and baselines, the ratio of model to persistence, and the model's ACC, a table for each lead."""
    step = evaluation.forecaster.checkpoint.progress.step
    scores = evaluation.scores
    for lead in range(len(scores.lead_hours)):
        _print_lead(f"{evaluation.name}, step {step}", scores, lead)
    if len(scores.lead_hours) > 1:
        longest = describe_lead(scores.lead_hours[-1])
        print(f"initial times: the {scores.samples} that have truth {longest} later, the same for all leads")
    print(f"climatology: {scores.climatology}")
    for remark in scores.remarks:
        print(remark)
    if evaluation.forecaster.model.attention_fallback:
        print(f"warning: {evaluation.forecaster.model.attention_fallback}")


def _print_lead(name: str, scores: Scores, lead: int) -> None:
    from rich.console import Console
    from rich.table import Table

    hours, baselines = scores.lead_hours[lead], [name for name in BASELINES if name in scores.sources]
    table = Table(title=f"{name}: RMSE at {hours:g} h, {scores.samples} forecasts")
    for column in ("channel", "unit", *scores.sources, *(f"/ {name}" for name in baselines), "ACC"):
        table.add_column(column, justify="left" if column in ("channel", "unit") else "right")
    rmse = {source: scores.rmse(source)[0, lead] for source in scores.sources}
    acc = scores.acc()[0, lead]
    for index, channel in enumerate(scores.channels):
        values = [f"{rmse[source][index]:.4g}" for source in scores.sources]
        ratios = [f"{rmse[MODEL][index] / rmse[b][index]:.3f}" if rmse[b][index] > 0 else "-" for b in baselines]
        table.add_row(channel, scores.units[index], *values, *ratios, f"{acc[index]:.3f}")
    Console().print(table)
    if scores.blown_up[lead]:
        print(f"warning: {scores.blown_up[lead]} of {scores.samples} forecasts at {hours:g} h are not finite")

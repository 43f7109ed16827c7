"""The scores of an evaluated run: a table on the console for each lead, and JSON beside what it was made from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from weather.training.evaluation import Evaluation
from weather.verification.leads import describe_lead
from weather.verification.skill import Skill, scores_of


def origin_file(scores: Path) -> Path:
    """Where it stands what scores were made from: ``scores_test.json`` has ``scores_test.origin.json``."""
    return scores.with_suffix(".origin.json")


def write_scores(evaluation: Evaluation, path: Path) -> None:
    """Write ``{channel: {lead hours: {model | persistence | climatology: {rmse, mae, bias, acc}}}}``, and origin."""
    path.parent.mkdir(parents=True, exist_ok=True)
    origin_file(path).unlink(missing_ok=True)  # an interruption leaves scores without origin, not with another's
    path.write_text(json.dumps(scores_of(evaluation.skills), indent=1, allow_nan=False), encoding="utf-8")
    origin_file(path).write_text(json.dumps(_origin(evaluation), indent=1), encoding="utf-8")


def _origin(evaluation: Evaluation) -> dict[str, Any]:
    """Of what the scores are: checkpoint, archive, initial times, units; what became of the forecasts by lead."""
    skill, checkpoint = evaluation.skills[0], evaluation.forecaster.checkpoint
    return {
        "run": evaluation.name,
        "checkpoint": checkpoint.path.name,
        "step": checkpoint.progress.step,
        "archive": str(evaluation.archive.data_dir),
        "split": evaluation.samples.split.name,
        "model_lead_hours": evaluation.samples.split.step_hours * evaluation.samples.dt,
        "samples": skill.samples,
        "blown_up": {f"{each.lead_hours:g}": each.blown_up for each in evaluation.skills},
        "units": dict(zip(skill.channels, skill.units, strict=True)),
        "climatology": evaluation.climatology.describe(),
    }


def print_scorecard(evaluation: Evaluation) -> None:
    """RMSE of model and baselines, the ratio of model to persistence, and the model's ACC, a table for each lead."""
    step = evaluation.forecaster.checkpoint.progress.step
    for skill in evaluation.skills:
        _print_lead(f"{evaluation.name}, step {step}", skill)
    longest = evaluation.skills[-1]
    if len(evaluation.skills) > 1:
        lead = describe_lead(longest.lead_hours)
        print(f"initial times: the {longest.samples} that have truth {lead} later, the same for all leads")
    print(f"climatology: {evaluation.climatology.describe()}")
    if evaluation.forecaster.model.attention_fallback:
        print(f"warning: {evaluation.forecaster.model.attention_fallback}")


def _print_lead(name: str, skill: Skill) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{name}: RMSE at {skill.lead_hours:g} h, {skill.samples} forecasts")
    for column in ("channel", "unit", "model", "persistence", "climatology", "ratio", "ACC"):
        table.add_column(column, justify="left" if column in ("channel", "unit") else "right")
    rmse = {source: errors.rmse for source, errors in skill.errors.items()}
    acc = skill.errors["model"].acc
    for index, channel in enumerate(skill.channels):
        model, persistence, climatology = (rmse[s][index] for s in ("model", "persistence", "climatology"))
        ratio = f"{model / persistence:.3f}" if persistence > 0 else "-"
        table.add_row(
            channel, skill.units[index], f"{model:.4g}", f"{persistence:.4g}", f"{climatology:.4g}", ratio,
            f"{acc[index]:.3f}",
        )  # fmt: skip
    Console().print(table)
    if skill.blown_up:
        print(f"warning: {skill.blown_up} of {skill.samples} forecasts at {skill.lead_hours:g} h are not finite")

"""Verifies the finished runs of a study that have no scores yet, one after the other, and makes the table of skill."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weather.errors import CheckpointError, WeatherError
from weather.runtime.progress import duration
from weather.runtime.run_folder import read_config
from weather.study.execution.state import observe
from weather.study.folder import StudyFolder
from weather.study.planned import PlannedRun
from weather.study.results.skill import SKILL_FILE, SkillRow, read_scores, scores_file, write_skill
from weather.training.evaluation import Climatologies, evaluate
from weather.training.restore import choose_checkpoint
from weather.training.scorecard import write_scores
from weather.verification.scorecard.files import origin_file

SPLITS = ("train", "valid", "test")


@dataclass
class VerifiedStudy:
    """What became of the runs, by name.

    Attributes:
        scored: verified now; kept: had their scores; unfinished: not trained to their end; failed: with the reason.
        rows: of the table of skill, of all splits.
    """

    scored: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    rows: list[SkillRow] = field(default_factory=list)


def verify_study(
    folder: StudyFolder,
    *,
    leads: Sequence[float] | None,
    split: str,
    checkpoint: str,
    device: str,
    batch_size: int,
    report: Callable[[str], None],
) -> VerifiedStudy:
    """Verify branches and lone runs; a trunk, which has no cooldown, is not a run to be compared.

    A run has its scores if they are of the checkpoint that would be verified now and hold all leads. Leads that a run
    has been verified at before are verified again with new ones, so that all have the same initial times.

    Args:
        leads: hours; None: each model's own.
        checkpoint: `last` or `best`.
        report: told what is done, line by line.

    Raises:
        DataError: the folder holds no study.
    """
    outcome = VerifiedStudy()
    plan = folder.read_plan()
    states = observe(folder, plan)
    runs = [run for run in plan.runs if run.role != "trunk"]
    waiting: list[tuple[PlannedRun, list[float] | None]] = []
    for run in runs:
        if states[run.name].state != "finished":
            outcome.unfinished.append(run.name)
            continue
        try:
            wanted = _missing(folder.run(run.name), leads, split, checkpoint)
        except WeatherError as error:
            outcome.failed[run.name] = str(error)
            continue
        if wanted == []:
            outcome.kept.append(run.name)
        else:
            waiting.append((run, wanted))
    climatologies: Climatologies = {}
    began = time.monotonic()
    try:
        for number, (run, wanted) in enumerate(waiting, start=1):
            try:
                evaluation = evaluate(
                    folder.run(run.name),
                    checkpoint=checkpoint,
                    split=split,
                    data_dir=None,
                    device=device,
                    precision=None,
                    batch_size=batch_size,
                    leads=wanted,
                    climatologies=climatologies,
                )
                write_scores(evaluation, scores_file(folder.run(run.name), split))
                outcome.scored.append(run.name)
            except WeatherError as error:
                outcome.failed[run.name] = str(error)
            spent = time.monotonic() - began
            report(_progress(number, len(waiting), run.name, spent, outcome.failed.get(run.name)))
    finally:
        # What was verified before an interruption is in the table.
        outcome.rows = [row for run in runs for each in SPLITS for row in _rows(folder.run(run.name), each)]
        if outcome.rows:
            write_skill(folder.path / SKILL_FILE, outcome.rows)
    return outcome


def _missing(run_folder: Path, leads: Sequence[float] | None, split: str, checkpoint: str) -> list[float] | None:
    """Leads to verify, empty where all are there; None: the model's own, which only the archive knows."""
    scores = scores_file(run_folder, split)
    old = _rows(run_folder, split)
    origin: dict[str, Any] = json.loads(origin_file(scores).read_text(encoding="utf-8")) if old else {}
    there = {row.lead_hours for row in old}
    try:
        name = choose_checkpoint(read_config(run_folder), checkpoint).path.name
    except CheckpointError:
        if not old:
            raise
        name = origin["checkpoint"]  # what was verified may have been removed since
    asked = set(leads) if leads is not None else {origin["model_lead_hours"]} if old else None
    if asked is None:
        return None
    return [] if asked <= there and origin["checkpoint"] == name else sorted(asked | there)


def _rows(run_folder: Path, split: str) -> list[SkillRow]:
    """The rows of a run's scores; scores that cannot be read are as none, and are made again."""
    try:
        return read_scores(run_folder, split)
    except WeatherError:
        return []


def _progress(number: int, count: int, name: str, spent: float, problem: str | None) -> str:
    left = spent / number * (count - number)
    eta = f", about {duration(left)} left" if number < count else ""
    return f"{number} of {count}: {name}{': ' + problem if problem else ''} ({duration(spent)}{eta})"

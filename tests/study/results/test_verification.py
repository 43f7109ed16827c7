"""The finished runs of a real study are verified once, and again where something is missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.distributed.runs import Run, Workplace
from weather.runtime.run_folder import read_config
from weather.study.folder import StudyFolder
from weather.study.planned import PlannedRun, RunCost, StudyPlan
from weather.study.results.skill import read_skill
from weather.study.results.verification import VerifiedStudy, verify_study

COST = RunCost(1000, 800, 8, 24, 26, 6, 6_000)
NAMES = ("small", "large", "trunk", "stopped")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trunk, two runs that ended, and one that was asked to stop."""
    place = Workplace(tmp_path_factory.mktemp("study"))
    folders = ("experiment.runs_dir=experiments/one/runs", "checkpoint_dir=experiments/one/checkpoints", "max_steps=6")
    width = {name: f"embed_dim={8 if name == 'small' else 16}" for name in NAMES}
    runs = [Run(name, (*folders, width[name]), stop_at=2 if name == "stopped" else 0) for name in NAMES]
    place.run_many(runs, ranks=1)
    path = place.folder / "experiments" / "one"
    study = StudyFolder(path)
    planned = [
        PlannedRun(name, read_config(study.run(name)), COST, {"size": name}, role="trunk" if name == "trunk" else "run")
        for name in NAMES
    ]
    study.write_plan(StudyPlan("one", "budgets", {}, tuple(planned)))
    return path


@pytest.fixture
def study(trained: Path, tmp_path: Path) -> StudyFolder:
    """A copy; its runs' configs name the first one's checkpoints."""
    shutil.copytree(trained, tmp_path / "one", symlinks=True)
    return StudyFolder(tmp_path / "one")


def verify(study: StudyFolder, *leads: float, checkpoint: str = "last") -> tuple[VerifiedStudy, list[str]]:
    lines: list[str] = []
    outcome = verify_study(
        study,
        leads=leads or None,
        split="test",
        checkpoint=checkpoint,
        device="cpu",
        batch_size=4,
        report=lines.append,
    )
    return outcome, lines


def test_what_is_finished_and_not_yet_scored_is_verified(study: StudyFolder) -> None:
    outcome, lines = verify(study)
    assert (outcome.scored, outcome.kept, outcome.unfinished) == (["small", "large"], [], ["stopped"])
    assert lines[0].startswith("1 of 2: small") and "left" in lines[0] and lines[1].startswith("2 of 2: large")
    rows = read_skill(study.path / "skill.csv")
    assert rows == outcome.rows and len(rows) == 4
    assert {(row.run, row.channel, row.lead_hours, row.samples) for row in rows} == {
        (run, channel, 6.0, 5) for run in ("small", "large") for channel in ("t2m", "u10")
    }
    assert verify(study)[0].kept == ["small", "large"]


def test_leads_are_added_and_damage_is_mended(study: StudyFolder) -> None:
    verify(study, 6.0)
    (study.run("large") / "scores_test.json").write_text("{")
    outcome, _ = verify(study)
    assert (outcome.scored, outcome.kept) == (["large"], ["small"])
    outcome, _ = verify(study, 12.0)
    assert outcome.scored == ["small", "large"]
    # The leads of before are verified with the new one, from the initial times that both have.
    assert {(row.lead_hours, row.samples) for row in outcome.rows} == {(6.0, 4), (12.0, 4)}
    assert verify(study, 12.0)[0].kept == verify(study, 6.0, 12.0)[0].kept == ["small", "large"]


def test_other_checkpoints_are_verified_anew_and_failures_are_named(study: StudyFolder) -> None:
    verify(study)
    origin = study.run("small") / "scores_test.origin.json"
    record = json.loads(origin.read_text())
    assert record["step"] == 6 and record["model_lead_hours"] == 6.0
    origin.write_text(json.dumps({**record, "checkpoint": "checkpoint_step_3"}))
    assert verify(study)[0].scored == ["small"]
    outcome, lines = verify(study, 9.0)
    assert set(outcome.failed) == {"small", "large"} and "nearest: 6h or 12h" in lines[0]
    assert len(outcome.rows) == 4  # what was there stays

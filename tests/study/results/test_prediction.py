"""From a study's runs to a registered prediction and its score, by the commands."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.archives import WrittenArchive
from tests.study.design.studies import description
from tests.study.results.made_up import BUDGETS, LAW, finish, finish_all, write_study
from weather.errors import ConfigError, DataError
from weather.scaling import parser
from weather.study.design.plan import plan_study
from weather.study.fits.foretelling import RunAhead
from weather.study.folder import StudyFolder
from weather.study.planned import PlannedRun, StudyPlan
from weather.study.results.prediction import predict
from weather.study.results.study_table import table_of

DRAWS = ("--draws", "20")


def command(*words: object) -> int:
    options = parser().parse_args([str(word) for word in words])
    return int(options.command(options))


def held_back(plan: StudyPlan) -> PlannedRun:
    """The middle size of the largest budget."""
    return [run for run in plan.runs if run.labels["budget"] == BUDGETS[-1]][2]


Place = tuple[StudyFolder, PlannedRun]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A study all of whose runs have ended but one of the largest budget."""
    study, plan = write_study(tmp_path / "study")
    last = held_back(plan)
    finish_all(study, plan, but=(last.name,))
    return study, last


@pytest.fixture(scope="module")
def registered_once(tmp_path_factory: pytest.TempPathFactory) -> Place:
    study, plan = write_study(tmp_path_factory.mktemp("once") / "study")
    last = held_back(plan)
    finish_all(study, plan, but=(last.name,))
    assert command("predict", study.path, "--run", last.name, "--max_flops", 1e15, "--register", *DRAWS) == 0
    return study, last


@pytest.fixture
def registered(registered_once: Place, tmp_path: Path) -> Place:
    """The same with a registered prediction of that run."""
    study, last = registered_once
    return StudyFolder(Path(shutil.copytree(study.path, tmp_path / "study"))), last


def test_a_registered_run_is_scored_when_it_has_ended(registered: Place, capsys: pytest.CaptureFixture[str]) -> None:
    study, last = registered
    path = study.path / "predictions" / f"{last.name}.json"
    record = json.loads(path.read_text())
    assert record["blind"] and len(record["fitted"]) == 20 and len(record["held_back"]) == 4
    assert any("C is 4 times the largest that was fitted" in remark for remark in record["remarks"])
    assert record["steps"] == last.cost.steps
    assert record["parameters"]["estimate"] == last.cost.parameters
    assert record["loss"]["low"] < LAW.loss(last.cost.parameters, last.cost.samples) < record["loss"]["high"]

    assert command("score", study.path) == 0
    assert f"not scored: {last.name} is ready" in capsys.readouterr().out
    finish(study, last, error=1e-3)
    assert command("score", study.path) == 0
    assert "inside" in capsys.readouterr().out
    score = json.loads(path.with_suffix(".score.json").read_text())
    assert score["inside"] and score["error"] == pytest.approx(record["loss"]["estimate"] / score["loss"] - 1)


def test_a_loss_outside_is_status_3(registered: Place, capsys: pytest.CaptureFixture[str]) -> None:
    study, last = registered
    finish(study, last, error=0.2)
    assert command("score", study.path) == 3
    assert "OUTSIDE" in capsys.readouterr().out


def test_another_validation_set_is_not_scored(registered: Place, capsys: pytest.CaptureFixture[str]) -> None:
    study, last = registered
    finish(study, last, error=0.2, validation_set="bb")
    assert command("score", study.path) == 0
    assert "validated on another set" in capsys.readouterr().out


def test_an_edited_prediction_is_noticed(registered: Place) -> None:
    study, last = registered
    path = study.path / "predictions" / f"{last.name}.json"
    record = json.loads(path.read_text())
    record["loss"]["high"] *= 2
    path.write_text(json.dumps(record))
    with pytest.raises(DataError, match="was edited after it was registered"):
        command("score", study.path)


def test_what_has_begun_is_not_registered_as_blind(place: Place) -> None:
    study, last = place
    finish(study, last)
    with pytest.raises(ConfigError, match=f"{last.name} has begun"):
        command("predict", study.path, "--run", last.name, "--register", *DRAWS)
    command("predict", study.path, "--run", last.name, "--register", "--not_blind", *DRAWS)
    record = json.loads((study.path / "predictions" / f"{last.name}.json").read_text())
    assert not record["blind"] and record["begun"] == [last.name] and last.name not in record["fitted"]
    with pytest.raises(ConfigError, match="is registered already"):
        command("predict", study.path, "--run", last.name, "--register", "--not_blind", *DRAWS)


def test_the_best_run_of_a_budget(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """Time at a given rate; a budget that the study has begun is known already."""
    study, _ = place
    command("predict", study.path, "--flops", 1e16, "--flops_per_second", 1e12, "--nodes", 3, "--json", *DRAWS)
    prediction = json.loads(capsys.readouterr().out)
    best = LAW.optimum(1e16, 6)
    found = prediction["foretold"]
    assert found["loss"]["low"] < best.loss < found["loss"]["high"]
    assert found["parameters"]["low"] < best.parameters < found["parameters"]["high"]
    assert prediction["seconds"] == 1e4
    assert prediction["node_hours"] == pytest.approx(3 * 1e4 / 3600)
    assert prediction["steps"] == round(found["samples"]["estimate"] / 16)
    with pytest.raises(ConfigError, match="has begun"):
        command("predict", study.path, "--flops", BUDGETS[-1], "--register", *DRAWS)


def test_a_size_that_can_be_trained_is_named(
    place: Place, make_archive: Callable[..., WrittenArchive], tmp_path: Path
) -> None:
    """The planned ones are far away; widths are multiples of 4, so that the family has a size near every N."""
    family = plan_study(description(make_archive(grid=(8, 16))), StudyFolder(tmp_path / "family"))
    prediction = predict(table_of(place[0].path), RunAhead(1e13), plan=family, draws=20)
    near, best = prediction.nearest, prediction.foretold.parameters.estimate
    assert near is not None and not near.planned
    assert abs(math.log(near.parameters / best)) < 0.2 < abs(math.log(family.runs[-1].cost.parameters / best))


def test_fit_collects_a_study_first_and_writes_its_result(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    study, last = place
    assert command("fit", study.path, *DRAWS) == 0
    result = json.loads((study.path / "fit.json").read_text())
    assert result["runs"] == 24 and result["left_out"] == {last.name: "ready"}
    assert result["laws"]["huber"]["law"]["model_exponent"] == pytest.approx(LAW.model_exponent, abs=0.1)
    with (study.path / "runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 25 and rows[0]["nodes"] == "2" and rows[0]["rmse.t2m"] == "2.0"
    assert f"left out: {last.name}: ready" in capsys.readouterr().out


def test_repeated_seeds_bound_the_noise_from_below(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three runs at each of five points that lie far about each other, beside 25 that lie on the law."""
    study, plan = write_study(tmp_path / "study", repeated_seeds=3)
    for run in plan.runs:
        spread = {10: -0.02, 11: 0.0, 12: 0.02}.get(run.config.training.seed, 0.0)
        finish(study, run, error=spread)
    command("fit", study.path, "--json", tmp_path / "fit.json", *DRAWS)
    result = json.loads((tmp_path / "fit.json").read_text())
    assert result["seed_noise"]["deviation"] == pytest.approx(0.02)  # of -0.02, 0 and 0.02, with two degrees of freedom
    assert result["seed_noise"]["points"] == 5 and result["seed_noise"]["runs"] == 15
    assert result["laws"]["huber"]["noise"] >= result["seed_noise"]["deviation"]
    assert "seed noise: 2.000% of the loss, from 15 runs at 5 points" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--run", "b0_n6359"), "no run 'b0_n6359' in the study 'made_up'; .*; did you mean 'b0_n63598'"),
        (("--flops", 1e16, "--exclude", "nobody"), "no run 'nobody'"),
        (("--flops", 1e16, "--max_flops", 1.0), "all runs are held back"),
        ((), "one of --flops, --run, --config"),
    ],
)
def test_a_mistake_is_named(place: Place, words: tuple[object, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        command("predict", place[0].path, *words, *DRAWS)


def test_a_study_that_has_not_begun_has_nothing_to_fit(tmp_path: Path) -> None:
    study, _ = write_study(tmp_path / "study")
    with pytest.raises(DataError, match="nothing to fit yet"):
        command("fit", study.path)

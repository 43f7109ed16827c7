"""A study's plan comes back as it was written, and what has begun does not change under it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from weather.config.wrapper import ConfigWrapper
from weather.errors import ConfigError, DataError
from weather.study.folder import StudyFolder
from weather.study.planned import ImpossibleRun, PlannedRun, RunCost, StudyPlan

COST = RunCost(
    parameters=1000, non_embedding_parameters=800, tokens_per_sample=8, samples=80, unique_samples=100, steps=20,
    flops=2_000,
)  # fmt: skip


def planned(folder: StudyFolder, name: str, **more: Any) -> PlannedRun:
    settings = {"training": {"max_steps": 20, "save_at_steps": [10, 20]}} | more.pop("settings", {})
    config = folder.placed(ConfigWrapper(settings), name)
    return PlannedRun(**{"name": name, "config": config, "cost": COST, "labels": {"size": name}} | more)


def plan(folder: StudyFolder, *runs: PlannedRun) -> StudyPlan:
    impossible = (ImpossibleRun("huge", {"size": 9}, "out of memory", "8"),)
    return StudyPlan("one", "budgets", {"budgets": [1e12]}, runs, impossible, ("a remark",))


def begin(folder: StudyFolder, name: str) -> None:
    folder.run(name).mkdir(parents=True)
    (folder.run(name) / "metrics.jsonl").write_text("{}\n")


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return StudyFolder(tmp_path / "one")


def test_a_plan_comes_back_as_it_was(folder: StudyFolder) -> None:
    trunk = planned(folder, "t", role="trunk")
    branch = planned(folder, "b", role="branch", trunk="t", first_step=10, flags=("short",), devices=2)
    written = plan(folder, trunk, branch)
    folder.write_plan(written)
    read = folder.read_plan()
    assert [run.config.to_dict() for run in read.runs] == [run.config.to_dict() for run in written.runs]
    alike = [dataclasses.replace(run, config=None) for run in (*read.runs, *written.runs)]  # type: ignore[arg-type]
    assert alike[:2] == alike[2:]
    assert (read.impossible, read.request, read.remarks) == (written.impossible, written.request, written.remarks)
    assert branch.own_flops == 1_000


def test_what_has_not_begun_may_change(folder: StudyFolder) -> None:
    folder.write_plan(plan(folder, planned(folder, "a"), planned(folder, "gone")))
    folder.write_plan(plan(folder, planned(folder, "a", settings={"seed": 7})))
    assert folder.read_plan().run("a").config.training.seed == 7


def test_what_has_begun_stays_what_it_is(folder: StudyFolder) -> None:
    folder.write_plan(plan(folder, planned(folder, "a")))
    begin(folder, "a")
    folder.write_plan(plan(folder, planned(folder, "a", settings={"log_frequency": 3})))
    with pytest.raises(ConfigError, match=r"'a' has begun with training.seed = 42, and is now planned with 7"):
        folder.write_plan(plan(folder, planned(folder, "a", settings={"seed": 7, "log_frequency": 3})))
    with pytest.raises(ConfigError, match="'a' has begun and is no longer planned"):
        folder.write_plan(plan(folder, planned(folder, "b")))
    assert folder.read_plan().run("a").config.training.seed == 42


@pytest.mark.parametrize(("more", "allowed"), [([30], True), ([15], False)])
def test_a_trunk_grows_at_its_end_only(folder: StudyFolder, more: list[int], allowed: bool) -> None:
    folder.write_plan(plan(folder, planned(folder, "t", role="trunk")))
    begin(folder, "t")
    longer = {"training": {"max_steps": 30, "save_at_steps": sorted([10, 20, *more])}}
    cost = dataclasses.replace(COST, steps=30)
    grown = plan(folder, planned(folder, "t", role="trunk", settings=longer, cost=cost))
    if allowed:
        folder.write_plan(grown)
        assert folder.read_plan().run("t").config.training.max_steps == 30
    else:
        with pytest.raises(ConfigError, match="has begun with training.max_steps = 20"):
            folder.write_plan(grown)


def test_a_folder_without_a_plan_names_its_neighbours(folder: StudyFolder) -> None:
    folder.write_plan(plan(folder, planned(folder, "a")))
    with pytest.raises(DataError, match=r"no study here; .*plan.json; there are: one"):
        StudyFolder(folder.path.with_name("two")).read_plan()


def test_a_damaged_plan_is_a_line(folder: StudyFolder) -> None:
    folder.write_plan(plan(folder, planned(folder, "a")))
    (folder.path / "plan.json").write_text('{"name": 1}')
    with pytest.raises(DataError, match="is no plan"):
        folder.read_plan()


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        ('"parameters": 1000', '"parameters": "big"', "parameters: .* valid integer"),
        ('"steps": 20', '"stps": 20', "steps: "),
        ('"role": "branch"', '"role": "king"', "role: .*'trunk' or 'branch'"),
        ('"trunk": "t"', '"trunk": "nobody"', "the trunk nobody"),
    ],
)
def test_a_plan_that_was_edited_wrongly_is_a_line(folder: StudyFolder, was: str, now: str, said: str) -> None:
    """Its values would fail where they are used, when some runs are under way."""
    branch = planned(folder, "b", role="branch", trunk="t", first_step=10)
    folder.write_plan(plan(folder, planned(folder, "t", role="trunk"), branch))
    path = folder.path / "plan.json"
    path.write_text(path.read_text().replace(was, now))
    with pytest.raises(DataError, match=f"is no plan .*{said}"):
        folder.read_plan()


def test_what_is_lost_of_a_plan_is_named_with_the_way_out(folder: StudyFolder) -> None:
    folder.write_plan(plan(folder, planned(folder, "a")))
    folder.config_file("a").unlink()
    with pytest.raises(
        DataError, match=r"plan.json: run 'a' is planned, and its config a.yaml is missing; move it away"
    ):
        folder.read_plan()
    (folder.path / "plan.json").write_text('{"name": "one", "runs"')
    with pytest.raises(DataError, match="cannot be read .*; move it away and plan again"):
        folder.write_plan(plan(folder, planned(folder, "a")))
    (folder.path / "plan.json").unlink()
    folder.write_plan(plan(folder, planned(folder, "a")))
    assert folder.read_plan().run("a").name == "a"

"""Rows of runs that were trained: a trunk, its branch, the same run alone, one stopped, one of another channel."""

from __future__ import annotations

import csv
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.distributed.runs import Run, Workplace
from weather.config.wrapper import ConfigWrapper
from weather.errors import ConfigError, DataError
from weather.study.folder import StudyFolder
from weather.study.planned import ImpossibleRun, PlannedRun, RunCost, StudyPlan
from weather.study.results.collection import collect, collect_runs, collect_study, write_runs
from weather.study.results.records import read_records
from weather.study.results.row import Row, lone_row
from weather.study.results.table import read_table

LENGTH = ("epochs=9", "eval_frequency=0", "save_frequency=0", "strategy=single", "embed_dim=16", "num_heads=2")
SMALL = ("num_layers=2", "patch_size=4", "batch_size=4", "warmup_steps=2", "log_frequency=1", "learning_rate=3e-3")
COOLDOWN = ("schedule=wsd", "cooldown_fraction=0.25", "max_steps=16")
TRUNK = ("schedule=constant", "max_steps=14", "save_at_steps=[12]", "max_checkpoints=1")
BRANCH_OFF = "checkpoints/trunk/checkpoint_epoch_2"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = Workplace(tmp_path_factory.mktemp("study"))
    common = (*LENGTH, *SMALL)
    runs = [
        Run("trunk", (*common, *TRUNK)),
        Run("branch", (*common, *COOLDOWN, f"branch_from={BRANCH_OFF}")),
        Run("alone", (*common, *COOLDOWN)),
        Run("stopped", (*common, *COOLDOWN), stop_at=5),  # a wish is read a step later
        Run("one_channel", (*common, *COOLDOWN, "channels=[t2m]")),
    ]
    place.run_many(runs, ranks=1)
    yield place.folder
    place.close()


def by_name(rows: list[Row]) -> dict[str, Row]:
    return {row["name"]: row for row in rows}


def test_a_branch_counts_from_its_trunk(place: Path) -> None:
    rows = by_name(collect_runs([place / "runs"]))
    trunk, branch, alone = rows["trunk"], rows["branch"], rows["alone"]
    assert (trunk["role"], branch["role"], branch["trunk"], alone["role"]) == ("trunk", "branch", "trunk", "run")
    assert (branch["D"], branch["steps"], branch["C"]) == (64, 16, alone["C"])
    assert branch["own_C"] * 4 == branch["C"] and alone["own_C"] == alone["C"]
    assert 0 < branch["own_seconds"] < branch["seconds"]
    assert alone["own_seconds"] == alone["seconds"]
    assert branch["loss"] == alone["loss"]
    assert branch["epochs"] == pytest.approx(64 / 27)
    files = [path for path in (place / "checkpoints/alone").rglob("*") if path.is_file()]
    assert alone["storage_bytes"] == sum(path.stat().st_size for path in files) > 0
    assert {"rmse.t2m", "rmse.u10"} <= branch.keys()
    assert branch["world_size"] == branch["nodes"] == 1


def test_own_seconds_are_those_after_the_branch(place: Path, tmp_path: Path) -> None:
    """Its first logged step, at 4 samples in 1 s, ends at 100 s: it has left the trunk at 99 s."""
    folder = Path(shutil.copytree(place / "runs" / "branch", tmp_path / "branch"))
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    first = next(record for record in records if record["event"] == "train")
    first |= {"seconds": 100.0, "samples_per_second": 4.0}
    records[-1] |= {"seconds": 106.0}
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    row = lone_row(folder)
    assert (row["seconds"], row["own_seconds"]) == (106.0, 7.0)


def test_the_table_of_runs_keeps_one_of_each(place: Path, tmp_path: Path) -> None:
    """The trunk has not cooled down, the branch has a twin, another forecast other channels: all is said."""
    write_runs(tmp_path / "runs.csv", collect([place / "runs"]))
    table = read_table(tmp_path / "runs.csv")
    left_out = dict(table.left_out)
    assert table.names == ("alone",)
    assert left_out["branch"] == "the same run as alone"
    assert left_out["stopped"] == "stopped: signal at step 6"
    assert left_out["trunk"] == "a trunk: its learning rate does not cool down"
    assert "validated on another set" in left_out["one_channel"]
    with_embeddings = table.runs.parameters[0]
    assert read_table(tmp_path / "runs.csv", parameters="non_embedding").runs.parameters[0] < with_embeddings


def planned(study: StudyFolder, place: Path, name: str, steps: int = 16, **more: Any) -> PlannedRun:
    config = study.placed(ConfigWrapper({"data": {"data_dir": str(place / "archive")}}), name)
    config = config.replace({"training.branch_from": more.pop("branch_from", None)})
    return PlannedRun(name, config, RunCost(1000, 900, 8, 4 * steps, 26, steps, 10**6 * steps), {"size": 1}, **more)


def test_a_study_has_a_row_for_every_run(place: Path, tmp_path: Path) -> None:
    study = StudyFolder(Path(shutil.copytree(place, tmp_path / "study")))
    off = str((place / BRANCH_OFF).absolute())
    branch = {"role": "branch", "trunk": "trunk"}
    runs = (
        planned(study, place, "trunk", 20, role="trunk"),
        planned(study, place, "branch", first_step=12, branch_from=off, **branch),
        planned(study, place, "next", first_step=12, branch_from=off, **branch),
        planned(study, place, "later", first_step=18, branch_from=off.replace("epoch_2", "epoch_3"), **branch),
        planned(study, place, "stopped"),
    )
    study.write_plan(StudyPlan("s", "budgets", {}, runs, (ImpossibleRun("huge", {"size": 9}, "out of memory"),)))
    rows = by_name(collect_study(study))
    assert {name: (row["status"], row["reason"]) for name, row in rows.items()} == {
        "trunk": ("stopped", "planned to go on"),
        "branch": ("finished", ""),
        "next": ("ready", ""),
        "later": ("waiting", "for step 18 of 'trunk'"),
        "stopped": ("stopped", "by signal; goes on when started again"),
        "huge": ("impossible", "out of memory"),
    }
    assert rows["next"]["label.size"] == 1 and rows["next"]["N"] == 1000
    write_runs(study.path / "runs.csv", list(rows.values()))
    with (study.path / "runs.csv").open() as file:
        read = list(csv.DictReader(file))
    assert [row["name"] for row in read] == list(rows)
    assert all(row["status"] for row in read)


def test_a_run_that_was_killed_after_its_last_save_is_finished(place: Path, tmp_path: Path) -> None:
    """All is there but its last word: the table says what the study's status says, and what verify takes."""
    study = StudyFolder(Path(shutil.copytree(place, tmp_path / "study")))
    study.write_plan(StudyPlan("s", "budgets", {}, (planned(study, place, "alone"),)))
    whole = collect_study(study)[0]
    metrics = study.run("alone") / "metrics.jsonl"
    lines = metrics.read_text().splitlines()
    metrics.write_text("".join(f"{line}\n" for line in lines if json.loads(line)["event"] != "stop"))
    (study.run("alone") / "lock").unlink(missing_ok=True)  # its holder is this process, which lives
    killed = collect_study(study)[0]
    assert (killed["status"], killed["reason"]) == (whole["status"], whole["reason"]) == ("finished", "")
    assert (killed["C"], killed["steps"], killed["loss"]) == (whole["C"], whole["steps"], whole["loss"])


@pytest.fixture
def rewritten(place: Path, tmp_path: Path) -> Callable[..., Row]:
    """The row of the run alone, with the last record of an event changed, or all from it on cut off."""

    def row(event: str, cut: bool = False, **values: Any) -> Row:
        folder = Path(shutil.copytree(place / "runs" / "alone", tmp_path / "alone", dirs_exist_ok=True))
        records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        index = max(i for i, record in enumerate(records) if record["event"] == event)
        records = records[:index] if cut else records
        if not cut:
            records[index] |= values
        (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        return lone_row(folder)

    return row


def test_what_spoils_a_finished_run(rewritten: Callable[..., Row]) -> None:
    assert rewritten("validation", loss=None)["reason"] == "it diverged: its loss is not finite"
    assert rewritten("train", loss=99.0)["reason"].startswith("it diverged: its training loss ")
    assert rewritten("validation", loss=99.0)["reason"] == "", "another season, or data that were seen too often"
    assert rewritten("validation", step=15)["reason"] == "it was not validated at its end"
    assert rewritten("stop", flops=7)["reason"].startswith("its FLOPs 7 are not those of its samples")
    assert rewritten("train", learning_rate=2.9e-3)["reason"].startswith("its cooldown did not happen: the learning")
    assert rewritten("stop", step=16)["reason"] == ""


def test_a_run_that_was_killed_and_one_that_runs(rewritten: Callable[..., Row], tmp_path: Path) -> None:
    row = rewritten("stop", cut=True)
    assert (row["status"], row["reason"]) == ("stopped", "killed after step 16")
    lock = tmp_path / "alone" / "lock"
    lock.write_text(f"process {os.getpid()} on {socket.gethostname()}\n")
    row = lone_row(tmp_path / "alone")
    assert (row["status"], row["reason"]) == ("running", f"process {os.getpid()}")
    lock.unlink()
    row = rewritten("stop", reason="nonfinite", error="TrainingError: the loss is not finite.")
    assert (row["status"], row["reason"]) == ("failed", "TrainingError: the loss is not finite.")


def test_what_is_no_run_is_named(place: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no run here"):
        collect([tmp_path])
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(ConfigError, match="is a study; one study alone"):
        collect([tmp_path, place / "runs"])


@pytest.mark.parametrize("line", ["[]", "3", "null", '{"event": "train"}', '{"event": "train", "st'])
def test_a_line_that_is_no_record_is_passed_over(tmp_path: Path, line: str) -> None:
    (tmp_path / "metrics.jsonl").write_text(f'{{"event": "start", "step": 0}}\n{line}\n')
    records = read_records(tmp_path)
    assert (len(records.starts), records.train, records.last_step) == (1, (), 0)

"""``weather.scaling plan`` and ``calibrate``, as they are typed."""

from __future__ import annotations

import csv
import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.archives import WrittenArchive
from tests.study.design.studies import study
from weather import scaling
from weather.config.files import load_config
from weather.study.design.description import StudyDescription
from weather.study.design.next_run import plan_next_run, size_nearest_to
from weather.study.folder import StudyFolder
from weather.training.trainer import WeatherTrainer


@pytest.fixture
def archive(make_archive: Callable[..., WrittenArchive]) -> WrittenArchive:
    return make_archive(grid=(8, 16))


@pytest.fixture
def type_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Runs a command on a study of these settings; gives its status and all that it has printed."""
    monkeypatch.chdir(tmp_path)

    def run(command: str, settings: dict[str, Any], *options: str) -> tuple[int, str]:
        Path("study.yaml").write_text(yaml.safe_dump(settings))
        monkeypatch.setattr(sys, "argv", ["weather.scaling", command, "study.yaml", *options])
        with pytest.raises(SystemExit) as end:
            scaling.main()
        printed = capsys.readouterr()
        return int(end.value.code or 0), printed.out + printed.err

    return run


def test_plan_prints_and_writes_the_same(
    archive: WrittenArchive, type_command: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    status, text = type_command("plan", study(archive), "--no-write")
    assert (status, Path("experiments").exists()) == (0, False)
    assert "--probe measures some steps" in text, "no time without a rate"
    status, text = type_command("plan", study(archive), "--flops_per_second", "1e8", "--json", "plan.json")
    assert status == 0
    plan = StudyFolder(tmp_path / "experiments" / "one").read_plan()
    rows = list(csv.DictReader(Path("experiments/one/plan.csv").read_text().splitlines()))
    record = json.loads(Path("plan.json").read_text())
    assert [row["name"] for row in rows] == [run.name for run in plan.runs] == [run["name"] for run in record["runs"]]
    for row, run in zip(rows, plan.runs, strict=True):
        assert float(row["seconds"]) == pytest.approx(run.own_flops / 1e8)
        assert f"{run.labels['size']:>10}" in text
    assert f"{record['totals']['share_of_independent_flops']:.1%} of the" in text
    assert sum(float(row["own_flops"]) for row in rows) == record["totals"]["flops"]


def test_a_next_run_that_has_begun_stays_planned(
    archive: WrittenArchive, type_command: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    settings, folder = study(archive), StudyFolder(tmp_path / "experiments" / "one")
    assert type_command("plan", settings)[0] == 0
    plan, asked = folder.read_plan(), StudyDescription.model_validate(settings)
    following = plan_next_run(plan, asked, folder, budget=4e8, parameters=size_nearest_to(asked, 1.0).parameters)
    folder.write_plan(dataclasses.replace(plan, runs=(*plan.runs, following)))
    folder.run(following.name).mkdir(parents=True)
    (folder.run(following.name) / "metrics.jsonl").touch()
    assert type_command("plan", {**settings, "budgets": [4e7, 8e7, 1.6e8]})[0] == 0
    again = folder.read_plan()
    assert again.run(following.name).config.to_dict() == following.config.to_dict()
    assert len(again.runs) == len(plan.runs) + 3, "a branch for each size, and the next run"


def test_plan_refuses_in_a_line(archive: WrittenArchive, type_command: Callable[..., tuple[int, str]]) -> None:
    status, text = type_command("plan", study(archive, budgets=[10.0]))
    assert status == 1
    assert text.count("\n") == 1
    assert "no run of the study is possible" in text
    assert (
        "--flops_per_second -1; greater than 0" in type_command("plan", study(archive), "--flops_per_second", "-1")[1]
    )


def test_calibrate_from_plan_to_rule(
    make_archive: Callable[..., WrittenArchive], type_command: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    """States of this archive are noise: a tendency must learn to take them back, and a rate of 1 unlearns it again."""
    archive = make_archive(grid=(8, 16), files={"train": (120,), "valid": (20,), "test": (6,)})
    rates = {"from": 1e-4, "to": 1.0, "count": 4}
    calibration = {"widths": [8, 16], "budget": 1e7, "learning_rates": rates}
    settings = study(archive, calibration=calibration, overrides={"model.predict": "tendency"})
    status, text = type_command("calibrate", settings)
    assert (status, "8 of 8 runs have not ended" in text) == (0, True)
    folder = StudyFolder(tmp_path / "experiments" / "one-calibration")
    for run in folder.read_plan().runs:
        config = load_config(folder.config_file(run.name), run.name)
        WeatherTrainer(config, device="cpu").train()
    status, text = type_command("calibrate", settings)
    assert status == 0, text
    law = json.loads(Path("experiments/one/learning_rate.json").read_text())["law"]
    assert "the law goes through two sizes exactly" in text
    settings["schedule"] = {"learning_rate": "calibrated", "warmup_steps": 2}
    assert type_command("plan", settings)[0] == 0
    for planned in StudyFolder(tmp_path / "experiments" / "one").read_plan().runs:
        expected = law["coefficient"] * planned.cost.parameters ** law["exponent"]
        assert planned.config.training.learning_rate == pytest.approx(expected, rel=1e-3)


def test_calibrate_wants_a_calibration(archive: WrittenArchive, type_command: Callable[..., tuple[int, str]]) -> None:
    status, text = type_command("calibrate", study(archive))
    assert (status, "no calibration is asked for" in text) == (1, True)

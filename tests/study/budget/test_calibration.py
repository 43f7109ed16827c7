"""Speeds are those that a real run logged; several runs tell how it scales."""

from __future__ import annotations

import json
import shutil
import statistics
from pathlib import Path
from typing import Any

import pytest

from tests.distributed.runs import Workplace
from tests.study.budget.asking import answer, refusal
from weather.study.budget.calibration import Calibration, calibrate
from weather.study.budget.speed import given_speed, measured_speed


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """With a real run of 48 steps, 6 an epoch, an evaluation and a checkpoint each."""
    place = Workplace(tmp_path_factory.mktemp("budget"))
    place.run("real", "epochs=8", "asynchronous_checkpoints=false")
    return place


@pytest.fixture(scope="module")
def run(place: Workplace) -> Path:
    return place.folder / "runs" / "real"


def as_on(run: Path, nodes: int, speed: float, **start: Any) -> Path:
    """The run's records as so many nodes would have logged them, so many times as fast."""
    copy = run.with_name(f"on{nodes}")
    shutil.copytree(run, copy, dirs_exist_ok=True)
    environment = json.loads((run / "environment.json").read_text())
    environment["ranks"] |= {"nodes": nodes, "world_size": nodes}
    (copy / "environment.json").write_text(json.dumps(environment))
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for record in records:
        if record["event"] == "start":
            record |= {"world_size": nodes, **start}
        for key, factor in (("seconds", 1 / speed), ("stall_seconds", 1 / speed), ("samples_per_second", speed)):
            if key in record:
                record[key] *= factor
    (copy / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return copy


def test_a_run_tells_its_speed(place: Workplace, run: Path) -> None:
    found = calibrate(run)
    rates = [record["samples_per_second"] for record in place.records("real", "train") if record["step"] > 10]
    assert found.samples_per_second == statistics.median(rates) and found.stretches == len(rates)
    assert found.overall_samples_per_second == pytest.approx(statistics.harmonic_mean(rates))  # a step a line
    assert (found.nodes, found.world_size, found.samples_per_epoch) == (1, 1, 24)
    assert found.flops_per_epoch == place.records("real", "train")[5]["flops"]  # of the first 6 steps
    stalls = [record["stall_seconds"] for record in place.records("real", "checkpoint")]
    assert found.checkpoint_seconds == statistics.median(stalls) and found.evaluation_seconds is not None
    pauses = found.evaluation_seconds + found.checkpoint_seconds  # one of each an epoch
    assert found.seconds_per_epoch == pytest.approx(24 / found.samples_per_second + pauses)


def test_pauses_are_told_apart(run: Path, tmp_path: Path) -> None:
    """On made-up clocks: 0.5 s a step, then 3 s of evaluation and 2 s of checkpoint."""
    shutil.copytree(run, tmp_path / "run")
    lines = [json.loads((run / "metrics.jsonl").read_text().splitlines()[0])]
    seconds = 0.0
    for step in range(1, 41):
        seconds += 0.5
        lines.append({"event": "train", "step": step, "samples": 4 * step, "seconds": seconds, "samples_per_second": 8})
        if step % 6 == 0:
            lines += [{"event": "validation", "step": step}, {"event": "checkpoint", "step": step, "stall_seconds": 2}]
            seconds += 5.0
    (tmp_path / "run" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"event"')
    found = calibrate(tmp_path / "run")
    assert found.evaluation_seconds == pytest.approx(3) and found.checkpoint_seconds == 2
    assert found.seconds_per_epoch == pytest.approx(6 * 0.5 + 3 + 2)


def test_a_run_of_few_steps_says_how_to_measure(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run, tmp_path / "run")
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "run" / "metrics.jsonl").write_text("".join(lines[:12]))
    words = ("time_to_epochs", "--hours", "1", "--run")
    assert "training.max_steps" in refusal(monkeypatch, capsys, *words, str(tmp_path / "run"))
    assert "no run here" in refusal(monkeypatch, capsys, *words, str(tmp_path))
    (tmp_path / "run" / "metrics.jsonl").write_text('{"event": "start", "step": 0}\n')
    assert "its last start has no world_size" in refusal(monkeypatch, capsys, *words, str(tmp_path / "run"))


def test_a_restart_without_steps_keeps_what_was_measured(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    with (tmp_path / "run" / "metrics.jsonl").open("r+") as file:
        first = json.loads(file.readline())
        file.seek(0, 2)
        file.write(json.dumps({**first, "event": "resume", "step": 48}) + "\n")
    assert calibrate(tmp_path / "run").samples_per_second == calibrate(run).samples_per_second


def test_runs_on_several_nodes_tell_how_speed_scales(run: Path) -> None:
    one = calibrate(run)
    speed = measured_speed([calibrate(as_on(run, 4, 3.0)), one])
    assert [nodes for nodes, _ in speed.points] == [1, 4]
    assert speed.efficiency(1) == pytest.approx(1) and speed.efficiency(4) == pytest.approx(0.75)
    # A power law through both: twice the nodes, sqrt(3) times the speed; and so on above.
    assert speed.efficiency(2) == pytest.approx(3**0.5 / 2) and speed.rule(2).startswith("interpolated")
    assert speed.efficiency(16) == pytest.approx(0.75**2) and speed.rule(16).startswith("extrapolated above 4")
    assert measured_speed([one]).rule(2) == "linear, not measured"


def test_extrapolation_is_never_better_than_linear(run: Path) -> None:
    one, four = calibrate(run), calibrate(as_on(run, 4, 5.0))
    speed = measured_speed([one, four])
    assert speed.efficiency(4) == pytest.approx(1.25) and speed.efficiency(64) == pytest.approx(1.25)
    assert measured_speed([four, calibrate(as_on(run, 8, 8.0))]).efficiency(1) == pytest.approx(1)
    assert given_speed(30).seconds_per_epoch(4) == pytest.approx(450)


def test_runs_that_do_not_compare_are_refused(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = as_on(run, 2, 2.0, precision="bf16")
    words = ("time_to_epochs", "--hours", "1", "--run", str(run), "--run", str(other))
    assert "has precision bf16" in refusal(monkeypatch, capsys, *words)


def test_another_config_is_costed_by_its_flops(
    place: Workplace, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found: Calibration = calibrate(run)
    common = ("epochs_to_time", "--epochs", "10", "--run", str(run), "--config", str(place.folder / "configs.yaml"),
              "--config_name", "tiny")  # fmt: skip
    archive = ("--set", f"data.data_dir={place.folder / 'archive'}")
    same = answer(monkeypatch, capsys, *common, *archive)
    assert same["hours"] * 3600 == pytest.approx(10 * found.seconds_per_epoch) and same["speed"] == "measured"
    assert same["steps"] == 60 and same["flops"] == 10 * found.flops_per_epoch
    larger = answer(monkeypatch, capsys, *common, *archive, "--set", "num_layers=4")
    assert larger["hours"] / same["hours"] == pytest.approx(larger["flops"] / same["flops"])
    assert larger["flops"] > 1.5 * same["flops"]
    assert "FLOP/s" in larger["speed"]
    doubled = answer(monkeypatch, capsys, *common, *archive, "--devices_per_node", "2")
    assert doubled["hours"] == pytest.approx(same["hours"] / 2) and "in proportion" in doubled["speed"]
    assert "no archive in" in refusal(monkeypatch, capsys, *common, "--set", "data.data_dir=nowhere")


def test_flops_of_a_run_are_those_of_its_clock(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = calibrate(run)
    time = answer(monkeypatch, capsys, "flops_to_time", "--flops", "1e12", "--nodes", "3", "--run", str(run))
    per_node = found.flops_per_epoch / found.seconds_per_epoch
    assert time["hours"] * 3600 == pytest.approx(1e12 / (3 * per_node)) and time["speed"] == "linear, not measured"
    assert time["flops_per_second_per_device"] == pytest.approx(per_node) and per_node < found.flops_per_second

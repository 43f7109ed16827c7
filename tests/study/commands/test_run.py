"""The command line from a base config to trained runs, with real ranks; given again; and told only to look."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.archives import write_archive
from weather.config.files import load_config
from weather.errors import ConfigError
from weather.scaling import parser
from weather.study.design.factors import plan_factors
from weather.study.design.variation import Machine
from weather.study.execution.contract import TrainOptions
from weather.study.execution.local import LocalExecutor
from weather.study.folder import StudyFolder

CONFIG = """
tiny:
  model: {embed_dim: 8, num_layers: 1, num_heads: 1, patch_size: 2}
  data: {data_dir: archive, num_workers: 0}
  training: {batch_size: 4, max_steps: 2, warmup_steps: 1, log_frequency: 1}
"""


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_archive(tmp_path / "archive", files={"train": (6,), "valid": (3,)}, grid=(4, 8))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.yaml").write_text(CONFIG)
    return tmp_path


def scaling(*words: str) -> int:
    """Exit status of the command with these words."""
    command = ("run", "--base_config", "base.yaml", "--base_config_name", "tiny", "--device", "cpu", *words)
    options = parser().parse_args(command)
    return int(options.command(options))


def test_devices_are_trained_and_kept(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--scale_types", "devices", "--scale_factors", "2", "--strategy", "ddp", "--at_once", "1")
    assert scaling(*words) == 0, capsys.readouterr().out
    folder = workplace / "experiments" / "tiny-devices"
    text = (folder / "runs" / "devices-strong-x2" / "metrics.jsonl").read_text()
    events = {record["event"]: record for record in map(json.loads, text.splitlines())}
    assert events["start"]["world_size"] == 2 and events["stop"]["reason"] == "max_steps"
    assert events["train"]["samples"] == 2 * 4
    assert "a batch of 8 exceeds the 5 training samples" in capsys.readouterr().out
    assert scaling(*words) == 0
    output = capsys.readouterr().out
    assert "1 finished" in output and "started" not in output
    with pytest.raises(ConfigError, match=r"has begun with training.seed = 42, and is now planned with 7"):
        scaling(*words, "--set", "seed=7")


def test_a_dry_run_writes_nothing(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(workplace.rglob("*"))
    types = ("--scale_types", "model", "memory", "--scale_factors", "1", "2")
    assert scaling(*types, "--dry-run", "--name", "look", "--json", "../plan.json") == 0
    assert sorted(workplace.rglob("*")) == before
    written = json.loads((workplace.parent / "plan.json").read_text())
    assert [run["name"] for run in written["runs"]][:2] == ["base", "model-x2"] and len(written["impossible"]) == 12
    output = capsys.readouterr().out
    for part in ("study 'look'", "base", "num_layers 1 -> 2", "memory-flash_attn-none-fp32", "17 run(s)", "dry run"):
        assert part in output, output


def test_a_parallel_strategy_gets_a_world_of_one_rank(workplace: Path) -> None:
    """Without a launcher it would be refused; the base of a `devices` study is such a run."""
    folder = StudyFolder(workplace / "experiments" / "one")
    for strategy, end in (("ddp", "--device cpu --devices 1"), ("single", "--device cpu")):
        config = load_config("base.yaml", "tiny", [f"training.strategy={strategy}"])
        plan = plan_factors(folder, config, types=("devices",), factors=(1.0,), machine=Machine(device="cpu"))
        executor = LocalExecutor(TrainOptions(device="cpu"))
        executor.open(folder, plan.runs)
        (line,) = executor.lines(plan.runs, ())
        assert line.endswith(end), line

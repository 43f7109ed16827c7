"""A run's folder: one process at a time, and what it was started with can be read back."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from weather.config.wrapper import ConfigWrapper
from weather.errors import LaunchError, WeatherError
from weather.runtime.device import choose_device
from weather.runtime.ranks import Ranks
from weather.runtime.run_folder import (
    CONFIG_FILE,
    ENVIRONMENT_FILE,
    RunLock,
    git_commit,
    hold,
    json_line,
    read_config,
    write_config,
    write_environment,
)

HOLDER = """
import sys, time
from pathlib import Path
from weather.runtime.run_folder import RunLock
lock = RunLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock on `tmp_path / "run"`."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_process_is_kept_off_until_the_first_is_killed(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    lock = RunLock(tmp_path / "run")
    with pytest.raises(LaunchError, match=rf"held by process {holder.pid} on .*experiment\.name"):
        lock.acquire()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    lock.acquire()
    lock.release()


def test_a_refused_lock_leaves_the_holder_named(tmp_path: Path) -> None:
    first, second = RunLock(tmp_path), RunLock(tmp_path)
    first.acquire()
    for _ in range(2):
        with pytest.raises(LaunchError, match=f"process {os.getpid()} on"):
            second.acquire()
    first.release()
    first.release()
    second.acquire()
    second.release()


def test_a_file_system_without_locks_warns_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    lock = RunLock(tmp_path / "run")
    lock.acquire()
    lock.release()
    assert "without locks" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file in the way")
    with pytest.raises(WeatherError, match="runs"):
        RunLock(tmp_path / "runs" / "one").acquire()


def test_folders_are_held_together_or_not_at_all(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    with contextlib.ExitStack() as locks:
        hold(locks, first, second)
        for folder in (first, second):
            with pytest.raises(LaunchError, match=f"held by process {os.getpid()}"):
                RunLock(folder).acquire()
    taken = RunLock(second)
    taken.acquire()
    with pytest.raises(LaunchError, match="held by"), contextlib.ExitStack() as locks:
        hold(locks, first, second)
    taken.release()
    with contextlib.ExitStack() as locks:
        hold(locks, first, second)


def test_a_config_that_cannot_be_written_is_a_message(tmp_path: Path) -> None:
    (tmp_path / CONFIG_FILE).mkdir()
    with pytest.raises(LaunchError, match=rf"{CONFIG_FILE}: cannot write"):
        write_config(tmp_path, ConfigWrapper({"experiment": {"name": "one"}}))


def test_config_comes_back_as_it_was(tmp_path: Path) -> None:
    config = ConfigWrapper(
        {
            "experiment": {"name": "one", "description": "Wärme — 2 °C"},
            "model": {"img_size": [721, 1440], "input_channels": 3, "mlp_ratio": 3.5},
            "data": {"channels": ["t2m", 4], "temporal_coverage": "5y"},
            "training": {"learning_rate": 3e-4, "flops_budget": 1e20, "channel_weights": {"t2m": 2.0}},
        }
    )
    write_config(tmp_path, config)
    again = read_config(tmp_path)
    assert again.to_dict() == config.to_dict()
    assert str(tmp_path / CONFIG_FILE) in again.source
    assert sorted(path.name for path in tmp_path.iterdir()) == [CONFIG_FILE], "nothing partial is left"


@pytest.mark.parametrize("text", [None, "a: [", "", "just words", "- 1\n- 2", "model: {embed_dim: -1}"])
def test_a_folder_without_a_usable_config_is_a_message(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / CONFIG_FILE).write_text(text)
    with pytest.raises(WeatherError, match=str(tmp_path)):
        read_config(tmp_path)


def test_environment_says_what_ran_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("WANDB_API_KEY", "a secret")
    monkeypatch.setenv("SLURM_JWT", "a secret")
    monkeypatch.setenv("MASTER_ADDR", "node1")
    monkeypatch.delenv("ROCR_VISIBLE_DEVICES", raising=False)
    write_environment(tmp_path, Ranks(1, 4, 1, 2, "torchrun"), choose_device("cpu", "bf16", Ranks()))
    text = (tmp_path / ENVIRONMENT_FILE).read_text()
    facts = json.loads(text)
    assert facts["ranks"] == {"world_size": 4, "nodes": 2, "launcher": "torchrun"}
    assert facts["device"] == {"kind": "cpu", "name": "cpu", "precision": "bf16", "backend": "gloo"}
    assert facts["variables"]["OMP_NUM_THREADS"] == "1" and facts["variables"]["MASTER_ADDR"] == "node1"
    assert facts["cuda"] == torch.version.cuda and facts["hip"] == torch.version.hip and "nccl" in facts
    assert set(facts["packages"]) >= {"weather", "torch", "numpy", "deepspeed"}
    assert "a secret" not in text


def test_commit_is_one_of_this_tree_or_none() -> None:
    commit = git_commit()
    assert commit is None or len(commit.removesuffix("+changes")) == 12


def test_records_say_null_for_what_json_has_no_word_for() -> None:
    record = {"event": "train", "loss": math.nan, "norm": math.inf, "low": -math.inf, "lr": 1e-4, "mfu": None, "n": 3}
    line = json_line(record)
    assert "\n" not in line
    assert json.loads(line, parse_constant=pytest.fail) == {
        "event": "train",
        "loss": None,
        "norm": None,
        "low": None,
        "lr": 1e-4,
        "mfu": None,
        "n": 3,
    }

"""Checkpoints of real runs: written beside the training, killed in the middle, damaged afterwards, on a full disk."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.distributed.runs import Workplace, assert_same_bits, descendants, kill_tree, launcher
from tests.distributed.store_on_ranks import PARTS
from tests.training.checkpoints import flip
from weather.training.checkpoint import complete_checkpoints
from weather.training.checkpoint_verify import verify

ROOT = Path(__file__).resolve().parents[2]
NOISY = ("dropout=0.1", "ema_decay=0.9", "epochs=4", "save_every_steps=1", "max_checkpoints=3", "eval_frequency=0")


@pytest.fixture(scope="module")
def uninterrupted(workplace: Workplace) -> Workplace:
    """24 steps on two ranks, saved after each."""
    workplace.run("uninterrupted", *NOISY, ranks=2)
    return workplace


def test_two_ranks_share_a_store(tmp_path: Path) -> None:
    command = [*launcher(2), "tests.distributed.store_on_ranks", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [f"passed: {part.__name__}" in done.stdout for part in PARTS] == [True] * len(PARTS), done.stdout


def test_every_save_is_recorded_when_it_is_complete(uninterrupted: Workplace) -> None:
    records = uninterrupted.records("uninterrupted", "checkpoint")
    assert [record["step"] for record in records] == list(range(1, 25))
    for record in records:
        assert record["stall_seconds"] > 0 and record["seconds"] > 0 and record["bytes"] > 1000
    newest = complete_checkpoints(uninterrupted.folder / "checkpoints/uninterrupted")[-1]
    assert records[-1]["path"] == str(newest.path)


@pytest.mark.slow
def test_sharded_tensors_are_written_beside_the_training(uninterrupted: Workplace) -> None:
    """Each rank's shards of weights, moments and average, while the optimizer goes on changing them in place."""
    settings = (*NOISY, "strategy=fsdp", "schedule=constant")
    for name, way in (("fsdp_beside", "true"), ("fsdp_between", "false")):
        uninterrupted.run(name, *settings, f"asynchronous_checkpoints={way}", "max_steps=9", ranks=2)
    assert_same_bits(uninterrupted.tensors("fsdp_beside"), uninterrupted.tensors("fsdp_between"))
    for steps in (11, 12):
        assert "resumes at step" in uninterrupted.run("fsdp_beside", *settings, f"max_steps={steps}", ranks=2)
    uninterrupted.run("fsdp_at_once", *settings, "max_steps=12", ranks=2)
    assert uninterrupted.losses("fsdp_beside") == uninterrupted.losses("fsdp_at_once")
    assert_same_bits(uninterrupted.tensors("fsdp_beside"), uninterrupted.tensors("fsdp_at_once"))


def test_without_asynchronous_the_same_is_written(uninterrupted: Workplace) -> None:
    uninterrupted.run("synchronous", *NOISY, "asynchronous_checkpoints=false", ranks=2)
    assert_same_bits(uninterrupted.tensors("synchronous"), uninterrupted.tensors("uninterrupted"))


@pytest.mark.slow
def test_a_flipped_bit_in_the_newest_is_passed_over(uninterrupted: Workplace) -> None:
    name = "flipped"
    uninterrupted.run(name, *NOISY, "max_steps=12", "schedule=constant", ranks=2)
    folder = uninterrupted.folder / "checkpoints" / name
    for _ in range(2):  # the second resume is right too
        newest = complete_checkpoints(folder)[-1]
        flip(newest.path / "__1_0.distcp")
        output = uninterrupted.run(name, *NOISY, "max_steps=12", "schedule=constant", ranks=2)
        assert f"resumes at step {newest.progress.step - 1}" in output
        line = f"{newest.path}: __1_0.distcp is damaged"
        assert output.count(line) == 1, "said when it is found; the log only records it"
        assert any(line in record["what"] for record in uninterrupted.records(name, "warning"))
    uninterrupted.run("intact", *NOISY, "max_steps=12", "schedule=constant", ranks=2)
    assert uninterrupted.losses(name) == uninterrupted.losses("intact")
    assert_same_bits(uninterrupted.tensors(name), uninterrupted.tensors("intact"))
    assert {path.name for path in folder.glob("*.damaged*")} == {
        "checkpoint_epoch_2.damaged",
        "checkpoint_epoch_2.damaged.2",
    }


def test_when_none_is_whole_the_run_does_not_start_over(uninterrupted: Workplace) -> None:
    """Also when the run's own folder is gone; and an evaluation says what is damaged."""
    uninterrupted.run("broken", "max_steps=2")
    (path,) = (uninterrupted.folder / "checkpoints/broken").glob("checkpoint_*")
    flip(path / ".metadata")
    words = ["--run", "runs/broken", "--device", "cpu", "--no-plot"]
    command = [*launcher(1), "weather.evaluate", *words]
    done = subprocess.run(command, cwd=uninterrupted.folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "checkpoint_step_2: .metadata is damaged" in done.stderr and "--checkpoint last" in done.stderr
    (uninterrupted.folder / "runs/broken").rename(uninterrupted.folder / "elsewhere")
    for _ in range(2):
        output = uninterrupted.run("broken", "max_steps=2", status=1)
        assert "no checkpoint is left that is whole; damaged: checkpoint_step_2.damaged" in output


@pytest.mark.slow
def test_killed_in_the_middle_of_saves_it_is_always_resumable(uninterrupted: Workplace) -> None:
    """SIGKILL at several moments of a run that saves after every step; whatever is marked is whole."""
    name = "killed"
    folder = uninterrupted.folder / "checkpoints" / name
    for moment, pause in enumerate((0.0, 0.003, 0.011, 0.023, 0.037)):
        process = uninterrupted.start(name, *NOISY, ranks=2)
        # A save of a step is under way as soon as the next step is made.
        uninterrupted.wait_for_step(process, name, 3 * moment + 2)
        time.sleep(pause)
        kill_tree(process)
        for checkpoint in complete_checkpoints(folder):
            verify(checkpoint)
    output = uninterrupted.run(name, *NOISY, ranks=2)
    assert "resumes at step" in output and "damaged" not in output
    assert uninterrupted.losses(name) == uninterrupted.losses("uninterrupted")
    assert_same_bits(uninterrupted.tensors(name), uninterrupted.tensors("uninterrupted"))


@pytest.mark.slow
def test_a_rank_that_is_killed_during_a_save_does_not_hang_the_other(uninterrupted: Workplace) -> None:
    process = uninterrupted.start("lost", *NOISY, "epochs=400", ranks=2)
    uninterrupted.wait_for_step(process, "lost", 4, "checkpoint")
    rank_0 = next(pid for pid in descendants(process.pid) if b"RANK=0\0" in Path(f"/proc/{pid}/environ").read_bytes())
    os.kill(rank_0, signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert process.returncode != 0, output
    assert "resumes at step" in uninterrupted.run("lost", *NOISY, "epochs=2", ranks=2)


@contextlib.contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[None]:
    """A file system in memory that is soon full."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system needs root and a system that allows it")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("ranks", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_full_disk_is_a_line_and_spares_the_earlier_ones(workplace: Workplace, ranks: int) -> None:
    name, disk = f"full_{ranks}", workplace.folder / f"disk_{ranks}"
    settings = (f"checkpoint_dir={disk}", "save_every_steps=2", "max_checkpoints=0", "embed_dim=32", "epochs=400")
    with small_disk(disk, 2000):
        output = workplace.run(name, *settings, ranks=ranks, status=1)
        assert output.count("CheckpointError") == 1 and "No space left on device" in output
        assert "cannot write the checkpoint" in output and "earlier checkpoints are untouched" in output
        assert ranks > 1 or "Traceback" not in output  # torchrun adds its own
        kept = complete_checkpoints(disk / name)
        assert [checkpoint.progress.step for checkpoint in kept] == list(range(2, 2 * len(kept) + 1, 2)) != []
        for checkpoint in kept:
            verify(checkpoint)
        assert workplace.records(name, "checkpoint")[-1]["step"] == kept[-1].progress.step
        stop = workplace.records(name, "stop")[-1]
        assert stop["reason"] == "error" and "No space left on device" in stop["error"]
        remount = ["mount", "-o", "remount,size=64m", str(disk)]
        subprocess.run(remount, check=True)
        output = workplace.run(name, *settings[:-1], f"max_steps={kept[-1].progress.step + 2}", ranks=ranks)
        assert f"resumes at step {kept[-1].progress.step}" in output


def test_a_failed_save_ends_the_run_before_the_next_one(workplace: Workplace) -> None:
    """A run must not train for hours on a disk that keeps nothing."""
    disk, every = workplace.folder / "tiny_disk", 400
    settings = (f"checkpoint_dir={disk}", f"save_every_steps={every}", "save_frequency=0", "eval_frequency=0")
    with small_disk(disk, 24):
        output = workplace.run("unsaved", *settings, "epochs=400", status=1)
    assert "CheckpointError" in output and "checkpoint_step_400" in output and "No space left" in output
    assert every <= workplace.records("unsaved", "stop")[-1]["step"] < 2 * every

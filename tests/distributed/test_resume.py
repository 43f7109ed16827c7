"""A run that is killed and started again ends as if nothing had happened."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.distributed.runs import Workplace, assert_same_bits

# Dropout draws random numbers in every step; the moving average has state of its own.
NOISY = ("dropout=0.1", "stochastic_depth=0.1", "ema_decay=0.9", "save_every_steps=4", "epochs=10")


@pytest.fixture(scope="module", params=[1, 2], ids=["single", "ddp2"])
def uninterrupted(request: pytest.FixtureRequest, workplace: Workplace) -> tuple[Workplace, str, int]:
    ranks: int = request.param
    name = f"uninterrupted_{ranks}"
    workplace.run(name, *NOISY, ranks=ranks)
    assert len(workplace.losses(name)) == 60
    return workplace, name, ranks


def test_killed_twice_ends_with_the_same_bits(uninterrupted: tuple[Workplace, str, int]) -> None:
    """Killed in the middle of an epoch (6 steps), off a checkpoint (every 4 steps), twice in a row."""
    workplace, name, ranks = uninterrupted
    killed = f"killed_{ranks}"
    for step in (9, 27):
        workplace.start_and_kill(killed, *NOISY, at_step=step, ranks=ranks)
    output = workplace.run(killed, *NOISY, ranks=ranks)
    assert "resumes at step" in output
    assert workplace.losses(killed) == workplace.losses(name)
    assert_same_bits(workplace.tensors(killed), workplace.tensors(name))
    assert len(workplace.records(killed, "resume")) == 2


def test_another_world_size_walks_the_same_samples(workplace: Workplace) -> None:
    """Two ranks begin, one process goes on; without dropout the losses are those of one process throughout."""
    workplace.run("one_process", "schedule=constant", "max_steps=12")
    workplace.run("two_then_one", "schedule=constant", "max_steps=8", ranks=2)
    workplace.run("two_then_one", "schedule=constant", "max_steps=12")
    # Rounding of another order of summation, grown over the steps.
    assert workplace.losses("two_then_one") == pytest.approx(workplace.losses("one_process"), abs=1e-6)


@pytest.mark.parametrize("ranks", [1, 2])
def test_signal_saves_and_asks_to_be_started_again(workplace: Workplace, ranks: int) -> None:
    name = f"signalled_{ranks}"
    process = workplace.start(name, "epochs=400", ranks=ranks)
    workplace.wait_for_step(process, name, 5)
    os.kill(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    stop = workplace.records(name, "stop")[-1]
    assert stop["reason"] == "signal", output
    # torchrun turns any end of its workers after a signal into its own status; a single process keeps ours.
    assert ranks > 1 or process.returncode == 75
    assert workplace.records(name, "checkpoint")[-1]["step"] == stop["step"]
    output = workplace.run(name, f"epochs={stop['step'] // 6 + 2}", ranks=ranks)
    assert f"resumes at step {stop['step']}" in output


def test_complete_run_says_so(workplace: Workplace) -> None:
    workplace.run("complete", "max_steps=3")
    before = (workplace.folder / "runs/complete/metrics.jsonl").read_bytes()
    output = workplace.run("complete", "max_steps=3")
    assert "run 'complete' is complete at step 3" in output
    assert (workplace.folder / "runs/complete/metrics.jsonl").read_bytes() == before


def test_second_process_is_refused(workplace: Workplace) -> None:
    process = workplace.start("held", "epochs=400")
    workplace.wait_for_step(process, "held", 1)
    output = workplace.run("held", "epochs=400", status=1)
    assert f"held by process {process.pid}" in output
    assert process.poll() is None


def test_changed_model_or_batch_is_refused(workplace: Workplace) -> None:
    workplace.run("changed", "max_steps=3")
    output = workplace.run("changed", "max_steps=6", "batch_size=2", status=1)
    assert "training.batch_size was 4 and is now 2" in output
    output = workplace.run("changed", "max_steps=6", "embed_dim=32", status=1)
    assert "model.embed_dim was 16 and is now 32" in output
    output = workplace.run("changed", "max_steps=6", "learning_rate=1e-3")
    assert "training.learning_rate was 0.003, is now 0.001" in output


def test_never_does_not_start_over(workplace: Workplace) -> None:
    workplace.run("fresh", "max_steps=3", options=("--resume", "never"))
    output = workplace.run("fresh", "max_steps=3", status=1, options=("--resume", "never"))
    assert "the newest at step 3" in output


def test_resume_from_a_named_checkpoint(workplace: Workplace) -> None:
    workplace.run("origin", "save_every_steps=1", "max_checkpoints=0", "max_steps=5")
    path = Path("checkpoints/origin/checkpoint_step_2")
    output = workplace.run("branch", "max_steps=5", options=("--resume", str(path)))
    assert f"resumes at step 2 from {path}" in output
    assert [r["loss"] for r in workplace.records("branch", "train")] == workplace.losses("origin")[2:]
    assert_same_bits(workplace.tensors("branch"), workplace.tensors("origin"))
    output = workplace.run("origin", "max_steps=6", status=1, options=("--resume", str(path)))
    assert "checkpoint_step_5" in output


def test_checkpoints_kept_follow_the_environment(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_CHECKPOINTS", "2")
    workplace.run("few", "save_every_steps=1", "max_steps=5", "eval_frequency=0")
    kept = {path.name for path in (workplace.folder / "checkpoints/few").iterdir()}
    assert kept == {"checkpoint_step_4", "checkpoint_step_5"}

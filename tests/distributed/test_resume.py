"""A run that is killed and started again ends as if nothing had happened."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.archives import write_archive
from tests.distributed.runs import Workplace, assert_same_bits
from weather.training.checkpoint import complete_checkpoints, read_checkpoint

# Dropout draws random numbers in every step; the moving average has state of its own.
NOISY = ("dropout=0.1", "stochastic_depth=0.1", "ema_decay=0.9", "save_every_steps=4", "epochs=10")

BATCH = {1: 4, 2: 4, 3: 6}  # global batch by ranks: 6 or 4 steps an epoch


@pytest.fixture(scope="module", params=[1, 2, 3], ids=["single", "ddp2", "ddp3"])
def uninterrupted(request: pytest.FixtureRequest, workplace: Workplace) -> tuple[Workplace, str, int]:
    """Three ranks are one more than cores, but only from there on does the order of a sum over ranks matter."""
    ranks: int = request.param
    name = f"uninterrupted_{ranks}"
    workplace.run(name, *NOISY, f"batch_size={BATCH[ranks]}", ranks=ranks)
    assert len(workplace.losses(name)) == 10 * (26 // BATCH[ranks])
    return workplace, name, ranks


@pytest.mark.slow
def test_killed_twice_ends_with_the_same_bits(uninterrupted: tuple[Workplace, str, int]) -> None:
    """Killed in the middle of an epoch, off a checkpoint (every 4 steps), twice in a row."""
    workplace, name, ranks = uninterrupted
    killed, settings = f"killed_{ranks}", (*NOISY, f"batch_size={BATCH[ranks]}")
    for step in (9, 19):
        workplace.start_and_kill(killed, *settings, at_step=step, ranks=ranks)
    output = workplace.run(killed, *settings, ranks=ranks)
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


@pytest.mark.slow
def test_resume_from_a_named_checkpoint(workplace: Workplace) -> None:
    workplace.run("origin", "save_every_steps=1", "max_checkpoints=0", "max_steps=5")
    path = Path("checkpoints/origin/checkpoint_step_2")
    output = workplace.run("branch", "max_steps=5", options=("--resume", str(path)))
    assert f"resumes at step 2 from {path}" in output
    assert [r["loss"] for r in workplace.records("branch", "train")] == workplace.losses("origin")[2:]
    assert_same_bits(workplace.tensors("branch"), workplace.tensors("origin"))
    output = workplace.run("origin", "max_steps=6", status=1, options=("--resume", str(path)))
    assert "checkpoint_step_5" in output
    # A requeued job gives the same command again, and goes on with what the run has made of it.
    output = workplace.run("branch", "max_steps=6", options=("--resume", str(path)))
    assert "resumes at step 5" in output and "branch/checkpoint_step_5" in output


def test_checkpoints_kept_follow_the_environment(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_CHECKPOINTS", "2")
    workplace.run("few", "save_every_steps=1", "max_steps=5", "eval_frequency=0")
    kept = {path.name for path in (workplace.folder / "checkpoints/few").glob("checkpoint_*")}
    assert kept == {"checkpoint_step_4", "checkpoint_step_5"}


def test_lost_checkpoints_do_not_start_over(workplace: Workplace) -> None:
    workplace.run("purged", "max_steps=3")
    before = (workplace.folder / "runs/purged/metrics.jsonl").read_bytes()
    (workplace.folder / "checkpoints/purged").rename(workplace.folder / "elsewhere")
    output = workplace.run("purged", "max_steps=3", status=1)
    assert "a run never starts over silently" in output
    assert (workplace.folder / "runs/purged/metrics.jsonl").read_bytes() == before


def test_another_archive_is_refused(workplace: Workplace) -> None:
    """Channels in another order: every weight would mean something else."""
    workplace.run("swapped", "max_steps=3")
    output = workplace.run("swapped", "max_steps=6", "data.channels=[u10,t2m]", status=1)
    assert "data.channels was 'all' and is now ['u10', 't2m']" in output
    files = {"train": (18, 11), "valid": (8,), "test": (6,)}
    write_archive(workplace.folder / "grown", files=files, channels=("t2m", "u10"), grid=(8, 16))
    output = workplace.run("swapped", "max_steps=6", "data.data_dir=grown", status=1)
    assert "the archive's training samples was 27 and is now 28" in output


def test_last_step_is_evaluated_before_it_is_saved(workplace: Workplace) -> None:
    workplace.run("last", "eval_frequency=2", "save_every_steps=9")
    final = complete_checkpoints(workplace.folder / "checkpoints/last")[-1].progress
    scores = workplace.records("last", "validation")[-1]
    assert final.step == scores["step"] == 18
    assert final.validation_loss == scores["loss"]
    # Step 9 was saved, but not evaluated: it cannot be the best.
    assert read_checkpoint(workplace.folder / "checkpoints/last/checkpoint_step_9").progress.validation_loss is None


@pytest.mark.slow
def test_time_budget_ends_the_run_for_good(workplace: Workplace) -> None:
    options = ("--time_budget", str(3 / 3600))
    output = workplace.run("timed", "epochs=4000", "eval_frequency=100", "save_frequency=100", options=options)
    assert "complete (time_budget)" in output
    stop = workplace.records("timed", "stop")[-1]
    assert 1.5 < stop["seconds"] < 4.5  # log lines, and so the estimate of a step, come every step; the save is short
    output = workplace.run("timed", "epochs=4000", "eval_frequency=100", "save_frequency=100", options=options)
    assert f"is complete at step {stop['step']} (time_budget)" in output

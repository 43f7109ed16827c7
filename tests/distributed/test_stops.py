"""A run ends where its budget, its walltime or a signal says, and goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.distributed.runs import Run, Workplace, assert_same_bits, descendants
from weather.training.checkpoint import complete_checkpoints, read_checkpoint


def rank_process(launcher: int, rank: int) -> int:
    """Process id of a rank below torchrun."""
    marker = f"RANK={rank}\0".encode()
    return next(
        pid for pid in descendants(launcher) if b"\0" + marker in b"\0" + Path(f"/proc/{pid}/environ").read_bytes()
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2])
def test_one_process_exits_with_75(workplace: Workplace, number: signal.Signals) -> None:
    name = f"one_{number.name}"
    process = workplace.start(name, "epochs=400")
    workplace.wait_for_step(process, name, 3)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 75, output
    stop = workplace.records(name, "stop")[-1]
    assert stop["reason"] == "signal" and workplace.records(name, "checkpoint")[-1]["step"] == stop["step"]
    assert "stopped, start it again to go on" in output


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGUSR1,
        *(pytest.param(n, marks=pytest.mark.slow) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)),
    ],
)
def test_a_signal_to_one_rank_stops_all_at_the_same_step(workplace: Workplace, number: signal.Signals) -> None:
    name = f"all_{number.name}"
    process = workplace.start(name, "epochs=400", ranks=2)
    workplace.wait_for_step(process, name, 3)
    os.kill(rank_process(process.pid, 1), number)
    output, _ = process.communicate(timeout=60)
    stop = workplace.records(name, "stop")[-1]
    assert stop["reason"] == "signal", output
    assert workplace.records(name, "checkpoint")[-1]["step"] == stop["step"]
    assert "exitcode: 75" in output.replace("exitcode  :", "exitcode:"), output


def test_a_second_interrupt_leaves_at_once(workplace: Workplace) -> None:
    """Between the two the run is in the middle of a long step: it has no time to save."""
    process = workplace.start("impatient", "epochs=4000", "batch_size=26", "embed_dim=512", "num_layers=8")
    workplace.wait_for_step(process, "impatient", 1)
    began = time.monotonic()
    while process.poll() is None and time.monotonic() - began < 5:
        process.send_signal(signal.SIGINT)  # more than two, as two that come before one is handled count as one
        time.sleep(0.05)
    assert process.poll() == -signal.SIGINT
    assert not workplace.records("impatient", "checkpoint")


@pytest.mark.slow
def test_walltime_saves_in_time(workplace: Workplace) -> None:
    began = time.monotonic()
    process = workplace.start("walled", "epochs=100000", options=("--walltime", "0:00:20"))
    output, _ = process.communicate(timeout=60)
    assert time.monotonic() - began < 20
    assert process.returncode == 75, output
    stop = workplace.records("walled", "stop")[-1]
    assert stop["reason"] == "walltime"
    assert workplace.records("walled", "checkpoint")[-1]["step"] == stop["step"]
    output = workplace.run("walled", "epochs=100000", f"max_steps={stop['step'] + 1}")
    assert f"resumes at step {stop['step']}" in output


@pytest.mark.slow
def test_the_end_of_a_slurm_job_is_a_walltime(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(time.time() + 20))
    process = workplace.start("job", "epochs=100000", ranks=2)
    process.communicate(timeout=60)
    assert time.time() < float(os.environ["SLURM_JOB_END_TIME"])
    assert workplace.records("job", "stop")[-1]["reason"] == "walltime"


# --- a stop at the end of an epoch, of 6 steps; what is wished in a step is read in the next ---

NOISY = ("dropout=0.1", "stochastic_depth=0.1", "ema_decay=0.9")


@pytest.fixture(scope="module")
def stopped(workplace: Workplace) -> Workplace:
    """Runs of 3 epochs that were asked to stop, and one that was not; each that was stopped has gone on."""
    workplace.run_many(
        [
            Run("straight", NOISY),
            Run("by_signal", NOISY, stop_at=5),
            Run("by_signal", NOISY),
            Run("by_walltime", NOISY, stop_at=11, stop_by="walltime"),
            Run("by_walltime", NOISY),
            Run("within", NOISY, stop_at=7),
            Run("within", NOISY),
            Run("at_last", NOISY, stop_at=17),
        ],
        ranks=1,
    )
    return workplace


def story(place: Workplace, name: str) -> list[tuple[str, int]]:
    """What happened at which step, in order, but for the steps themselves and checks of gradients."""
    lines = (place.folder / "runs" / name / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    told = ("start", "resume", "validation", "checkpoint", "stop")
    return [(record["event"], record["step"]) for record in records if record["event"] in told]


@pytest.mark.parametrize(("name", "reason", "step"), [("by_signal", "signal", 6), ("by_walltime", "walltime", 12)])
def test_a_stop_at_the_end_of_an_epoch_leaves_its_evaluation_to_the_next_start(
    stopped: Workplace, name: str, reason: str, step: int
) -> None:
    first, *_ = stopped.records(name, "stop")
    assert (first["reason"], first["step"]) == (reason, step)
    events = story(stopped, name)
    stop = events.index(("stop", step))
    assert ("validation", step) not in events[:stop] and ("checkpoint", step) in events[:stop]
    assert events[stop + 1 : stop + 3] == [("resume", step), ("validation", step)]
    validations = stopped.records(name, "validation")
    assert validations == stopped.records("straight", "validation"), "the same epochs, the same scores"
    lines = (stopped.folder / "runs" / name / "metrics.jsonl").read_text().splitlines()
    kinds = [json.loads(line)["event"] for line in lines]
    after = kinds[kinds.index("resume") :]
    assert after.index("validation") < after.index("train"), "of the weights that were saved"


def test_the_checkpoint_of_such_a_stop_gets_its_loss_at_the_resume(stopped: Workplace) -> None:
    """Without one, the weights of that epoch could never be the best."""
    kept = complete_checkpoints(stopped.folder / "checkpoints" / "by_signal")
    losses = {checkpoint.progress.step: checkpoint.progress.validation_loss for checkpoint in kept}
    scores = {record["step"]: record["loss"] for record in stopped.records("by_signal", "validation")}
    assert losses == scores and set(losses) == {6, 12, 18}


@pytest.mark.parametrize("name", ["by_signal", "by_walltime", "within"])
def test_a_late_evaluation_changes_no_step(stopped: Workplace, name: str) -> None:
    assert stopped.losses(name) == stopped.losses("straight")
    assert_same_bits(stopped.tensors(name), stopped.tensors("straight"))


def test_a_resume_within_an_epoch_does_not_evaluate(stopped: Workplace) -> None:
    assert [record["step"] for record in stopped.records("within", "stop")] == [8, 18]
    assert [record["step"] for record in stopped.records("within", "validation")] == [6, 12, 18]


def test_a_stop_that_is_asked_for_in_the_end_finds_the_run_complete(stopped: Workplace) -> None:
    [stop] = stopped.records("at_last", "stop")
    assert (stop["reason"], stop["step"]) == ("complete", 18)
    assert [record["step"] for record in stopped.records("at_last", "validation")] == [6, 12, 18]
    assert read_checkpoint(stopped.newest("at_last")).progress.validation_loss is not None


# --- budgets ---


def test_flops_budget_survives_a_kill(workplace: Workplace) -> None:
    """Killed and started again, the run ends on the same step, the last that the budget pays for."""
    workplace.run("costed", "max_steps=1")
    flops = workplace.records("costed", "train")[-1]["flops"]
    options = ("--flops_budget", str(40.999 * flops))
    workplace.start_and_kill("spent", "epochs=100", "save_every_steps=3", at_step=20, options=options)
    workplace.run("spent", "epochs=100", "save_every_steps=3", options=options)
    stop = workplace.records("spent", "stop")[-1]
    assert (stop["step"], stop["reason"], stop["flops"]) == (40, "flops_budget", 40 * flops)
    last = workplace.records("spent", "train")[-1]
    assert last["flops_remaining"] == pytest.approx(0.999 * flops)
    assert last["learning_rate"] < 1e-5  # the schedule ends with the budget: 3e-3 * half a cosine of the last step


def test_the_first_of_two_budgets_wins(workplace: Workplace) -> None:
    workplace.run("priced", "max_steps=1")
    flops = workplace.records("priced", "train")[-1]["flops"]
    output = workplace.run("both", options=("--flops_budget", str(7 * flops), "--time_budget", "1"))
    assert "complete (flops_budget) at step 7" in output


@pytest.mark.slow
def test_time_budget_counts_over_restarts(workplace: Workplace) -> None:
    """6 s in all, of which a killed start keeps what its last checkpoint knows of."""
    settings, options = ("epochs=100000", "save_every_steps=20"), ("--time_budget", str(6 / 3600))
    process = workplace.start("hours", *settings, options=options)
    workplace.wait_for_step(process, "hours", 60)
    process.terminate()
    process.communicate(timeout=60)
    spent = workplace.records("hours", "stop")[-1]["seconds"]
    assert 0 < spent < 6
    began = time.monotonic()
    workplace.run("hours", *settings, options=options)
    stop = workplace.records("hours", "stop")[-1]
    assert stop["reason"] == "time_budget"
    assert 4 < stop["seconds"] < 7  # steps and saves take milliseconds here; a busy machine may stretch the last save
    assert time.monotonic() - began < 6 - spent + 20  # the start takes a few seconds


@pytest.mark.slow
def test_a_hung_rank_ends_the_others(workplace: Workplace) -> None:
    """A rank that is stopped (SIGSTOP) hangs for ever: the other gives up after the timeout and names the step."""
    # So seldom that none is being written when the rank stops: its end would be waited for.
    saving = ("save_frequency=0", "eval_frequency=0", "save_every_steps=300")
    settings = ("strategy=fsdp", *saving, "collective_timeout_minutes=0.1")
    process = workplace.start("hung", *settings, "epochs=4000", ranks=2)
    workplace.wait_for_step(process, "hung", 320)
    below = descendants(process.pid)
    os.kill(rank_process(process.pid, 1), signal.SIGSTOP)
    output, _ = process.communicate(timeout=90)  # torchrun waits 30 s before it kills what does not end
    assert process.returncode != 0
    assert "another rank failed or was lost after step" in output
    assert not [pid for pid in below if Path(f"/proc/{pid}").exists()], "an orphan"
    assert "resumes at step" in workplace.run("hung", *settings, "epochs=4000", "max_steps=900", ranks=2)

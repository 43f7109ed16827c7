"""A broken run ends with its cause, a skipped step is counted and recorded, and bad data are never skipped."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.archives import WrittenArchive
from weather.config.wrapper import ConfigWrapper
from weather.data.year_file import FIELDS
from weather.errors import DataError, TrainingError
from weather.runtime.logs import RunLog
from weather.runtime.run_folder import METRICS_FILE
from weather.training.health import LONGEST_OVERFLOW, Health
from weather.training.monitor import Reading, Requests
from weather.training.preparation import Prepared, prepare

BATCH = np.array([3, 0, 5, 1])


@dataclass
class Watched:
    """A health and what it has said."""

    health: Health
    folder: Path
    asked_for: list[int]

    def see(self, step: int, loss: float = 0.5, norm: float = 1.0, applied: bool = True) -> None:
        self.health.examine(Reading(step, loss, norm, applied, Requests(), 0.0))

    def events(self, event: str = "skipped") -> list[dict[str, Any]]:
        records = [json.loads(line) for line in (self.folder / METRICS_FILE).read_text().splitlines()]
        return [record for record in records if record["event"] == event]


@pytest.fixture
def written(make_archive: Callable[..., WrittenArchive]) -> WrittenArchive:
    return make_archive()


@pytest.fixture
def watch(written: WrittenArchive, tmp_path: Path) -> Iterator[Callable[..., Watched]]:
    """Makes a `Watched` run with settings of the training section; each step has the samples of `BATCH`."""
    logs: list[RunLog] = []

    def make(skipped: int = 0, **training: Any) -> Watched:
        settings = {
            "model": {"patch_size": 2, "embed_dim": 8, "num_heads": 2, "num_layers": 1},
            "data": {"data_dir": str(written.folder)},
            "training": training,
            "experiment": {"name": "one"},
        }
        prepared = prepare(ConfigWrapper(settings))
        logs.append(RunLog(tmp_path, prepared.config, speaks=True))
        logs[-1].open(0)
        asked_for: list[int] = []

        class OneBatch(Prepared):
            def global_batch(self, step: int) -> np.ndarray:
                asked_for.append(step)
                return BATCH

        run = OneBatch(**{field.name: getattr(prepared, field.name) for field in dataclasses.fields(Prepared)})
        return Watched(Health(run, logs[-1], tmp_path / "checkpoints", skipped), tmp_path, asked_for)

    yield make
    for log in logs:
        log.close()


def spoil(written: WrittenArchive) -> None:
    """The target of sample 5 is not finite; the sampled states that are looked at before a run are."""
    with h5py.File(written.path("train"), "r+") as file:
        file[FIELDS][6, 1, 2, 3] = np.nan


# --- a step that is not finite ---


@pytest.mark.parametrize(("loss", "norm"), [(math.nan, 1.0), (0.5, math.inf), (math.inf, math.nan)])
def test_a_step_that_is_not_finite_ends_the_run(watch: Callable[..., Watched], loss: float, norm: float) -> None:
    watched = watch()
    with pytest.raises(TrainingError, match=rf"diverged: loss {loss}, gradient norm {norm} at step 7"):
        watched.see(7, loss, norm)
    assert watched.asked_for == [6], "sample order counts steps from 0"
    assert watched.health.skipped == 0


def test_a_finite_step_passes_in_silence(watch: Callable[..., Watched]) -> None:
    watched = watch(on_nonfinite="skip")
    watched.see(1)
    assert (watched.folder / METRICS_FILE).read_text() == ""
    assert watched.asked_for == []


def test_a_step_left_out_is_recorded_with_its_samples(
    watch: Callable[..., Watched], capsys: pytest.CaptureFixture[str]
) -> None:
    watched = watch(on_nonfinite="skip")
    watched.see(3, loss=math.nan, norm=math.inf, applied=False)
    watched.see(4, norm=math.nan, applied=False)
    common = {"event": "skipped", "cause": "not finite", "batch": [3, 0, 5, 1]}
    assert watched.events() == [
        {**common, "step": 3, "skipped": 1, "loss": None, "grad_norm": None},
        {**common, "step": 4, "skipped": 2, "loss": 0.5, "grad_norm": None},
    ]
    assert watched.asked_for == [2, 3]
    lines = capsys.readouterr().out.splitlines()
    assert "step 3 was left out (loss nan, gradient norm inf): 1 in a row, 1 in all" in lines[0]
    assert "2 in a row, 2 in all" in lines[1] and "part_0.h5" in lines[1]


def test_too_many_in_a_row_end_the_run(watch: Callable[..., Watched]) -> None:
    watched = watch(on_nonfinite="skip", max_nonfinite_steps=3)
    for step in (1, 2, 3):
        watched.see(step, loss=math.nan, norm=math.nan, applied=False)
    with pytest.raises(TrainingError, match=r"4 steps in a row .*up to step 4.*max_nonfinite_steps = 3"):
        watched.see(4, loss=math.nan, norm=math.nan, applied=False)
    assert [record["step"] for record in watched.events()] == [1, 2, 3, 4], "the last one is on record, too"


def test_a_step_that_is_applied_begins_the_count_in_a_row_anew(watch: Callable[..., Watched]) -> None:
    watched = watch(on_nonfinite="skip", max_nonfinite_steps=1)
    for step in range(1, 20, 2):
        watched.see(step, norm=math.inf, applied=False)
        watched.see(step + 1)
    assert watched.health.skipped == 10, "but not the count in all"


def test_steps_skipped_before_this_start_are_counted(watch: Callable[..., Watched]) -> None:
    watched = watch(skipped=5, on_nonfinite="skip", max_nonfinite_steps=2)
    watched.see(1, norm=math.inf, applied=False)
    assert watched.health.skipped == 6
    assert watched.events()[0]["skipped"] == 6
    watched.see(2, norm=math.inf, applied=False)  # two in a row, not seven


@pytest.mark.parametrize("settings", [{}, {"on_nonfinite": "skip", "max_nonfinite_steps": 1000}])
def test_data_that_are_not_finite_always_end_the_run(
    written: WrittenArchive, watch: Callable[..., Watched], settings: dict[str, Any]
) -> None:
    watched = watch(**settings)
    spoil(written)
    with pytest.raises(DataError, match=r"part_0\.h5.*u10"):
        watched.see(1, loss=math.nan, norm=math.nan, applied=not settings)


# --- loss scaling ---


SKIP = {"on_nonfinite": "skip", "max_nonfinite_steps": 3}
either_way = pytest.mark.parametrize("settings", [{}, SKIP], ids=["stop", "skip"])


@either_way
def test_an_overflow_of_loss_scaling_is_recorded_and_no_failure(
    watch: Callable[..., Watched], settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    watched = watch(skipped=2, precision="fp16", **settings)
    watched.see(9, norm=math.inf, applied=False)
    assert watched.events() == [
        {"event": "skipped", "step": 9, "cause": "overflow of loss scaling", "skipped": 3},
    ]
    assert watched.asked_for == [], "its samples are not to blame"
    assert capsys.readouterr().out == "", "it belongs to loss scaling"


@either_way
def test_loss_scaling_that_finds_no_scale_ends_the_run(watch: Callable[..., Watched], settings: dict[str, Any]) -> None:
    watched = watch(precision="fp16", **settings)
    for step in range(1, LONGEST_OVERFLOW + 1):
        watched.see(step, norm=math.inf, applied=False)
    with pytest.raises(TrainingError, match=rf"{LONGEST_OVERFLOW + 1} steps in a row were skipped.*bf16 or fp32"):
        watched.see(LONGEST_OVERFLOW + 1, norm=math.inf, applied=False)
    again = watch(precision="fp16", **settings)
    for step in range(1, 4 * LONGEST_OVERFLOW):
        if step % LONGEST_OVERFLOW:
            again.see(step, norm=math.inf, applied=False)
        else:
            again.see(step)
    assert again.health.skipped == 4 * LONGEST_OVERFLOW - 1 - 3


@pytest.mark.parametrize("precision", ["auto", "fp32", "bf16"])
def test_without_loss_scaling_there_is_no_overflow_of_it(watch: Callable[..., Watched], precision: str) -> None:
    watched = watch(precision=precision, **SKIP)
    for step in (1, 2, 3):
        watched.see(step, norm=math.inf, applied=False)
    assert {record["cause"] for record in watched.events()} == {"not finite"}
    with pytest.raises(TrainingError, match="4 steps in a row were not finite"):
        watched.see(4, norm=math.inf, applied=False)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_loss_that_is_not_finite_is_no_overflow_of_its_scaling(watch: Callable[..., Watched], precision: str) -> None:
    with pytest.raises(TrainingError, match="diverged: loss nan"):
        watch(precision=precision).see(1, loss=math.nan, norm=math.inf, applied=False)


def test_a_loss_that_is_not_finite_is_left_out_as_such_under_loss_scaling_too(watch: Callable[..., Watched]) -> None:
    watched = watch(precision="fp16", **SKIP)
    for step in (1, 2, 3):
        watched.see(step, loss=math.nan, norm=math.inf, applied=False)
    assert [(record["cause"], record["batch"]) for record in watched.events()] == [("not finite", BATCH.tolist())] * 3
    with pytest.raises(TrainingError, match=r"4 steps in a row were not finite.*max_nonfinite_steps = 3"):
        watched.see(4, loss=math.nan, norm=math.inf, applied=False)


@pytest.mark.parametrize(("loss", "steps"), [(0.5, LONGEST_OVERFLOW + 1), (math.nan, 4)])
def test_ranks_that_agree_on_the_failure_report_it_once(watch: Callable[..., Watched], loss: float, steps: int) -> None:
    watched = watch(precision="fp16", **SKIP)
    with pytest.raises(TrainingError) as failure:
        for step in range(1, steps + 1):
            watched.see(step, loss=loss, norm=math.inf, applied=False)
    assert failure.value.agreed
    assert watched.health.skipped == steps


# --- spikes ---


def test_a_spike_is_recorded_and_told(watch: Callable[..., Watched], capsys: pytest.CaptureFixture[str]) -> None:
    watched = watch(spike_sigma=4.0)
    for step in range(1, 41):
        watched.see(step, loss=1.0 + step % 2)
    assert watched.events("spike") == []
    watched.see(41, loss=6.5)
    [spike] = watched.events("spike")
    assert spike.keys() == {"event", "step", "loss", "mean", "deviation", "sigmas"}
    assert (spike["step"], spike["loss"], spike["mean"]) == (41, 6.5, 1.5)
    assert spike["sigmas"] == pytest.approx((6.5 - 1.5) / spike["deviation"])
    assert "the loss 6.5 of step 41 is 9.9 standard deviations above" in capsys.readouterr().out


def test_the_jump_where_a_longer_rollout_begins_is_no_spike(watch: Callable[..., Watched]) -> None:
    watched = watch(spike_sigma=4.0, rollout_schedule={0: 1, 40: 2})
    for step in range(1, 41):
        watched.see(step, loss=1.0 + step % 2)
    for step in range(41, 81):
        watched.see(step, loss=20.0 + step % 2)
    assert watched.events("spike") == []
    watched.see(81, loss=30.0)
    [spike] = watched.events("spike")
    assert (spike["step"], spike["mean"]) == (81, 20.5), "of the rollouts of two only"


def test_a_spike_sigma_of_0_tells_none(watch: Callable[..., Watched]) -> None:
    watched = watch(spike_sigma=0.0)
    for step in range(1, 41):
        watched.see(step, loss=1.0 + step % 2)
    watched.see(41, loss=1e9)
    assert watched.events("spike") == []

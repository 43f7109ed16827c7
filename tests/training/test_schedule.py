"""The learning rate of every step, against values worked out by hand."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from weather.config.schema import TrainingSection
from weather.training.schedule import learning_rate

SCHEDULES = ["cosine", "linear", "constant", "wsd"]


def rates(total: int, **settings: Any) -> list[float]:
    """Learning rates of a whole run, and of the step after it."""
    section = TrainingSection(**({"learning_rate": 1.0} | settings))
    return [learning_rate(step, total, section) for step in range(total + 1)]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_warm_up_is_linear_and_ends_at_the_peak(schedule: str) -> None:
    run = rates(100, warmup_steps=4, schedule=schedule, learning_rate=8e-4)
    assert run[:5] == pytest.approx([2e-4, 4e-4, 6e-4, 8e-4, 8e-4], rel=1e-3)
    assert max(run) == pytest.approx(8e-4)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_without_warm_up_a_run_starts_at_the_peak(schedule: str) -> None:
    assert rates(100, warmup_steps=0, schedule=schedule)[0] == 1.0


def test_cosine() -> None:
    run = rates(12, warmup_steps=4, schedule="cosine")
    # Half a cosine over the 8 steps after warm-up.
    assert run[4:] == pytest.approx([0.5 * (1 + math.cos(math.pi * k / 8)) for k in range(9)])
    assert run[6] == pytest.approx(0.853553, abs=1e-6)
    assert run[8] == pytest.approx(0.5)
    assert run[12] == pytest.approx(0.0)


def test_linear() -> None:
    run = rates(12, warmup_steps=4, schedule="linear")
    assert run == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0.0])


def test_constant() -> None:
    assert rates(12, warmup_steps=4, schedule="constant")[3:] == [1.0] * 10


def test_wsd_is_constant_then_cools_down_by_one_minus_root() -> None:
    run = rates(100, warmup_steps=10, schedule="wsd", cooldown_fraction=0.2)
    assert run[9:81] == [1.0] * 72
    # 1 - sqrt(k / 20), k = 1, 5, 19, 20.
    assert [run[81], run[85], run[99], run[100]] == pytest.approx([0.776393, 0.5, 0.025321, 0.0], abs=1e-6)


def test_wsd_may_cool_down_from_the_start() -> None:
    run = rates(16, warmup_steps=0, schedule="wsd", cooldown_fraction=1.0)
    assert [run[0], run[4], run[9], run[16]] == pytest.approx([1.0, 0.5, 0.25, 0.0])


@pytest.mark.parametrize(("schedule", "middle"), [("cosine", 0.55), ("linear", 0.55), ("constant", 1.0)])
def test_floor(schedule: str, middle: float) -> None:
    run = rates(10, warmup_steps=0, schedule=schedule, final_learning_rate_fraction=0.1)
    assert run[5] == pytest.approx(middle)
    assert run[10] == pytest.approx(1.0 if schedule == "constant" else 0.1)


def test_floor_of_wsd() -> None:
    run = rates(100, warmup_steps=0, schedule="wsd", cooldown_fraction=0.2, final_learning_rate_fraction=0.1)
    assert run[85] == pytest.approx(0.1 + 0.9 * 0.5)
    assert run[100] == pytest.approx(0.1)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("total", [1, 2, 7, 100, 1000])
@pytest.mark.parametrize("warmup", [0, 3, 100])
def test_any_run_learns_in_every_step_and_never_above_the_peak(schedule: str, total: int, warmup: int) -> None:
    run = rates(total, warmup_steps=warmup, schedule=schedule)[:total]
    assert all(0 < rate <= 1.0 for rate in run)
    after = run[warmup:]
    assert all(later <= earlier for earlier, later in itertools.pairwise(after)), "it never rises again"


def test_warm_up_that_outlasts_the_run_is_cut_off() -> None:
    assert rates(4, warmup_steps=8, schedule="cosine")[:4] == pytest.approx([0.125, 0.25, 0.375, 0.5])


@pytest.mark.parametrize("schedule", ["cosine", "linear", "wsd"])
def test_past_its_end_a_schedule_stays_at_the_floor(schedule: str) -> None:
    section = TrainingSection(schedule=schedule, warmup_steps=2, learning_rate=1.0, final_learning_rate_fraction=0.25)
    assert learning_rate(1000, 10, section) == pytest.approx(0.25)

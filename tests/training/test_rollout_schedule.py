"""Forecasts of each step, their sums, and the budgets that follow: against sums over the steps."""

from __future__ import annotations

import pytest

from weather.config.schema import TrainingSection
from weather.training.budget import plan_run
from weather.training.rollout_schedule import RolloutSchedule

SCHEDULES = [{}, {0: 1}, {0: 2}, {5: 3}, {0: 1, 3: 2, 7: 4}, {0: 4, 2: 1, 3: 5}]


def by_hand(schedule: dict[int, int], step: int) -> int:
    reached = [first for first in sorted(schedule) if first <= step]
    return schedule[reached[-1]] if reached else 1


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_sums_over_steps(schedule: dict[int, int]) -> None:
    found, total = RolloutSchedule.of(schedule), 0
    for step in range(12):
        assert found.forecasts(step) == by_hand(schedule, step)
        assert found.before(step) == total
        total += by_hand(schedule, step)
    assert found.longest == max([1 if 0 not in schedule else 0, *schedule.values()])


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_budget_buys_the_steps_that_do_not_exceed_it(schedule: dict[int, int]) -> None:
    rollout = RolloutSchedule.of(schedule)
    for forecasts in range(40):
        steps = rollout.steps_within(forecasts)
        assert rollout.before(steps) <= forecasts < rollout.before(steps + 1)


def test_the_plan_of_a_run_counts_every_forecast() -> None:
    section = TrainingSection(
        batch_size=4, epochs=10, rollout_schedule={0: 1, 10: 3}, flops_budget=4 * 7 * (10 + 3 * 5) + 1
    )
    length = plan_run(section, 42, 7)
    assert (length.total_steps, length.reason) == (15, "flops_budget")
    assert length.flops(15) == 4 * 7 * 25 and length.flops(9) == 4 * 7 * 9


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules_agree_up_to_a_step_if_all_steps_before_it_do(schedule: dict[int, int]) -> None:
    for other in SCHEDULES:
        for made in range(10):
            same = all(by_hand(schedule, step) == by_hand(other, step) for step in range(made))
            agree = RolloutSchedule.of(schedule).up_to(made) == RolloutSchedule.of(other).up_to(made)
            assert agree == same, (other, made)


def test_longer_steps_are_foreseen() -> None:
    rollout = RolloutSchedule.of({0: 1, 10: 2, 20: 8})
    assert [rollout.lengthening(step, 5) for step in (0, 7, 8, 12, 18, 19, 25)] == [1, 1, 2, 1, 4, 4, 1]

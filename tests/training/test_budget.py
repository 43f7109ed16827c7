"""Where a run ends: epochs, steps or FLOPs, whichever comes first."""

from __future__ import annotations

from typing import Any

import pytest

from weather.config.schema import TrainingSection
from weather.errors import ConfigError
from weather.training.budget import RunLength, due, plan_run

FLOPS = 7_000_003  # of one sample
STEP = 4 * FLOPS  # of one batch of 4


def plan(samples: int = 42, **settings: Any) -> RunLength:
    return plan_run(TrainingSection(**({"batch_size": 4, "epochs": 3} | settings)), samples, FLOPS)


def test_epochs_are_whole_batches() -> None:
    assert plan() == RunLength(total_steps=30, steps_per_epoch=10, reason="complete", flops_per_step=STEP)


@pytest.mark.parametrize(
    ("budget", "steps"),
    [(STEP, 1), (2 * STEP - 1, 1), (2 * STEP, 2), (2 * STEP + 1, 2), (29 * STEP, 29), (30 * STEP - 1, 29)],
)
def test_a_budget_buys_the_steps_that_do_not_exceed_it(budget: int, steps: int) -> None:
    length = plan(flops_budget=budget)
    assert (length.total_steps, length.reason) == (steps, "flops_budget")
    assert length.total_steps * length.flops_per_step <= budget < (length.total_steps + 1) * length.flops_per_step


def test_a_budget_counts_whole_batches() -> None:
    assert plan(batch_size=2, flops_budget=10 * FLOPS).total_steps == 5
    assert plan(batch_size=4, flops_budget=10 * FLOPS).total_steps == 2


def test_a_budget_as_large_as_a_study_needs() -> None:
    # 1e20 is far beyond the integers that a float holds exactly, but not beyond a count of steps.
    section = TrainingSection(batch_size=4, epochs=10**9, flops_budget=1e20)
    length = plan_run(section, 42, 10**12)
    assert length.total_steps == 25_000_000


@pytest.mark.parametrize(
    ("settings", "steps", "reason"),
    [
        ({"max_steps": 7}, 7, "max_steps"),
        ({"max_steps": 31}, 30, "complete"),
        ({"max_steps": 30}, 30, "complete"),
        ({"flops_budget": 1e18}, 30, "complete"),
        ({"flops_budget": 30 * STEP}, 30, "complete"),
        ({"flops_budget": 5 * STEP, "max_steps": 7}, 5, "flops_budget"),
        ({"flops_budget": 9 * STEP, "max_steps": 7}, 7, "max_steps"),
        ({"time_budget_hours": 1e-6}, 30, "complete"),
    ],
)
def test_whatever_ends_first_is_the_reason(settings: dict[str, Any], steps: int, reason: str) -> None:
    length = plan(**settings)
    assert (length.total_steps, length.reason) == (steps, reason)


def test_a_budget_of_less_than_a_step_is_refused_with_the_price() -> None:
    with pytest.raises(ConfigError, match=r"flops_budget = 2\.8e\+07 .*4 samples costs 2\.8e\+07 FLOPs"):
        plan(flops_budget=STEP - 1)


def test_fewer_samples_than_a_batch_are_refused() -> None:
    with pytest.raises(ConfigError, match="batch_size = 4 exceeds the 3 training samples"):
        plan(samples=3)
    assert plan(samples=4).steps_per_epoch == 1


# --- what is due when ---


def dates(steps: int = 12, per_epoch: int = 3, **settings: Any) -> tuple[list[int], list[int]]:
    """Steps after which an evaluation, and a checkpoint, is due, in a run of 12 steps of 3 an epoch."""
    length = RunLength(steps, per_epoch, "complete", STEP)
    section = TrainingSection(**settings)
    answers = {step: due(step, section, length) for step in range(1, steps + 1)}
    return [step for step, (evaluate, _) in answers.items() if evaluate], [step for step in answers if answers[step][1]]


def test_each_epoch_ends_with_an_evaluation_and_a_checkpoint() -> None:
    assert dates() == ([3, 6, 9, 12], [3, 6, 9, 12])


def test_frequencies_count_epochs() -> None:
    assert dates(eval_frequency=2, save_frequency=3) == ([6, 12], [9, 12])
    assert dates(eval_frequency=3, save_frequency=2) == ([9, 12], [6, 12])


def test_the_last_step_has_both_wherever_it_lies() -> None:
    assert dates(steps=11) == ([3, 6, 9, 11], [3, 6, 9, 11])
    assert dates(steps=2) == ([2], [2])
    assert dates(eval_frequency=0, save_frequency=0) == ([12], [12]), "also where nothing else is due"


def test_zero_is_never() -> None:
    assert dates(eval_frequency=0) == ([12], [3, 6, 9, 12])
    assert dates(save_frequency=0) == ([3, 6, 9, 12], [12])


def test_steps_between_checkpoints_come_on_top_of_epochs() -> None:
    assert dates(save_every_steps=5) == ([3, 6, 9, 12], [3, 5, 6, 9, 10, 12])
    assert dates(save_every_steps=5, save_frequency=0, eval_frequency=0) == ([12], [5, 10, 12])
    assert dates(save_every_steps=100, save_frequency=0)[1] == [12]


def test_steps_where_others_branch_off_have_a_checkpoint() -> None:
    assert dates(save_at_steps=[2, 7], save_frequency=0, eval_frequency=0) == ([12], [2, 7, 12])

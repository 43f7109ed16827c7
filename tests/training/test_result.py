"""The exit status tells a job script whether to start the run again."""

from __future__ import annotations

import pytest

from weather.training.result import RESUMABLE, TrainingResult


@pytest.mark.parametrize(
    ("reason", "status"),
    [("complete", 0), ("max_steps", 0), ("flops_budget", 0), ("time_budget", 0), ("signal", 75), ("walltime", 75)],
)
def test_a_stop_that_leaves_something_to_do_is_told_by_the_exit_status(reason: str, status: int) -> None:
    assert TrainingResult(reason, 3, None).exit_status == status
    assert (reason in RESUMABLE) is (status == 75)

"""DeepSpeed's loss scale in the terms of `torch.amp.GradScaler`."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from weather.strategies.zero_fragments import loss_scale, set_loss_scale


def optimizer(iteration: int, last_overflow: int = -1) -> SimpleNamespace:
    scaler = SimpleNamespace(
        cur_scale=1024.0, cur_iter=iteration, last_overflow_iter=last_overflow, scale_window=100, scale_factor=2.0
    )
    return SimpleNamespace(loss_scaler=scaler)


@pytest.mark.parametrize(
    ("iteration", "last_overflow", "scale", "good_steps"),
    [(0, -1, 1024.0, 0), (50, -1, 1024.0, 50), (99, -1, 1024.0, 99), (100, -1, 2048.0, 0), (130, 59, 1024.0, 70)],
)
def test_a_growth_that_is_due_is_not_lost(iteration: int, last_overflow: int, scale: float, good_steps: int) -> None:
    """GradScaler raises the scale after 100 good steps; DeepSpeed does it in the step after them."""
    state = loss_scale(optimizer(iteration, last_overflow))
    assert (state["scaler.scale"].item(), state["scaler.growth_tracker"].item()) == (scale, good_steps)
    resumed = optimizer(0)
    set_loss_scale(resumed, state)
    assert loss_scale(resumed) == state

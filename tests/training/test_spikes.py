"""A loss that stands out is told, once there is something to stand out from."""

from __future__ import annotations

import math
import statistics

import pytest

from weather.training.spikes import ENOUGH, WINDOW, SpikeDetector

QUIET = [1.0, 3.0] * 50  # mean 2, standard deviation 1.005


def fed(losses: list[float], sigma: float = 6.0) -> SpikeDetector:
    detector = SpikeDetector(sigma)
    assert [detector.see(loss) for loss in losses] == [None] * len(losses)
    return detector


def test_nothing_stands_out_from_a_few_losses() -> None:
    assert fed(QUIET[: ENOUGH - 1]).see(1e6) is None
    assert fed(QUIET[:ENOUGH]).see(1e6) is not None


@pytest.mark.parametrize("sigma", [0.5, 3.0, 6.0])
def test_a_spike_lies_more_than_sigma_deviations_above_the_mean(sigma: float) -> None:
    deviation = statistics.stdev(QUIET)
    limit = 2.0 + sigma * deviation
    below, above = SpikeDetector(sigma), SpikeDetector(sigma)
    for loss in QUIET:
        below.see(loss)
        above.see(loss)  # at 0.5 sigma 3.0 itself is a spike
    # 1e-9 is far above the rounding of a sum of 100 numbers, and far below a deviation.
    assert below.see(limit - 1e-9) is None
    spike = above.see(limit + 1e-9)
    assert spike is not None
    assert spike.loss == limit + 1e-9
    assert (spike.mean, spike.deviation) == pytest.approx((2.0, deviation), rel=1e-12)
    assert spike.sigmas == pytest.approx(sigma, rel=1e-6)


def test_a_loss_far_below_is_no_spike() -> None:
    assert fed(QUIET).see(-1e6) is None


def test_a_sigma_of_0_looks_for_none() -> None:
    assert fed([*QUIET, 1e9], sigma=0.0).see(1e30) is None


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_passed_over(loss: float) -> None:
    detector = fed([*QUIET, loss])
    spike = detector.see(20.0)
    assert spike is not None
    assert spike.mean == pytest.approx(2.0, rel=1e-12), "it is not among those that the next one is compared with"
    # Nor does it count towards the first comparison.
    assert fed([*QUIET[: ENOUGH - 1], loss]).see(1e6) is None


def test_only_the_newest_losses_are_compared_with() -> None:
    detector = fed([1e3] * 7 + QUIET)
    assert len(QUIET) == WINDOW
    spike = detector.see(10.0)
    assert spike is not None
    assert spike.mean == pytest.approx(2.0, rel=1e-12)


def test_a_spike_is_compared_with_what_came_before_it_and_then_counts_itself() -> None:
    detector = fed(QUIET)
    first, second = detector.see(10.0), detector.see(11.0)
    assert first is not None and second is not None
    assert first.mean == pytest.approx(2.0)
    # The window lost its oldest loss, 1, and took in 10.
    assert second.mean == pytest.approx((200.0 - 1.0 + 10.0) / 100)


def test_a_loss_that_stays_high_is_told_a_few_times() -> None:
    detector = fed(QUIET)
    told = [detector.see(1e4) is not None for _ in range(300)]
    assert told[0]
    assert 1 <= sum(told) <= 5, "each one widens the deviation"
    assert not any(told[5:]), "and not again when the window has moved on"


def test_losses_that_do_not_vary_have_no_deviation_to_exceed() -> None:
    assert fed([0.1] * 300).see(0.1) is None
    assert fed([0.1] * 300).see(5.0) is None
    detector = fed([0.0] * 50)
    assert detector.see(1.0) is None
    assert detector.see(1e3) is not None, "but the next one has"

"""Which sample when: pure functions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from weather.data.order import (
    epoch_order,
    evaluation_share,
    global_batch,
    rank_share,
    sample_starts,
    steps_per_epoch,
    stratified_subset,
)
from weather.errors import ConfigError

# --- samples ---


@pytest.mark.parametrize(
    ("consecutive", "span", "starts"),
    [
        ([1, 1, 1, 1], 2, [0, 1, 2, 3]),
        ([1, 1, 1, 1], 3, [0, 1, 2]),
        ([1, 1, 1, 1], 5, [0]),
        ([1, 1, 1, 1], 6, []),
        ([1, 0, 1, 1], 2, [0, 2, 3]),
        ([1, 0, 1, 1], 3, [2]),
        ([1, 0, 1, 1], 4, []),
        ([0, 1, 1, 0], 3, [1]),
        ([0, 0], 2, []),
        ([], 2, []),
        ([], 1, [0]),
    ],
)
def test_samples_start_where_no_gap_follows(consecutive: list[int], span: int, starts: list[int]) -> None:
    assert sample_starts(np.array(consecutive, bool), span).tolist() == starts


def test_sample_starts_against_the_definition() -> None:
    generator = np.random.default_rng(5)
    for span in range(1, 9):
        consecutive = generator.random(200) < 0.8
        expected = [start for start in range(201 - span + 1) if consecutive[start : start + span - 1].all()]
        assert sample_starts(consecutive, span).tolist() == expected


# --- subsets ---

YEARS = np.repeat([2000, 2001, 2003], [1463, 1459, 300])


@pytest.mark.parametrize("share", [0.01, 0.1, 0.25, 0.5, 1 / 3, 0.9])
def test_subset_takes_its_share_of_each_year(share: float) -> None:
    kept = stratified_subset(YEARS, share)
    assert (np.diff(kept) > 0).all()
    for year, count in ((2000, 1463), (2001, 1459), (2003, 300)):
        assert np.count_nonzero(YEARS[kept] == year) == round(share * count)


def test_whole_share_keeps_everything() -> None:
    assert stratified_subset(YEARS, 1.0).tolist() == list(range(YEARS.size))


def test_tiny_share_keeps_one_sample_of_each_year() -> None:
    assert YEARS[stratified_subset(YEARS, 1e-6)].tolist() == [2000, 2001, 2003]


def test_subsets_are_nested() -> None:
    kept = [set(stratified_subset(YEARS, share).tolist()) for share in (0.01, 0.02, 0.1, 0.25, 0.5, 0.75, 0.99, 1.0)]
    for smaller, larger in itertools.pairwise(kept):
        assert smaller < larger


@pytest.mark.parametrize("share", [0.02, 0.1, 0.25, 0.5, 0.7])
def test_subset_is_spread_over_the_year(share: float) -> None:
    """No season is left out: the widest hole is within twice the mean distance, rounded up."""
    kept = stratified_subset(YEARS, share)
    for year in (2000, 2001):
        members = np.flatnonzero(year == YEARS)
        chosen = np.concatenate([[members[0] - 1], kept[YEARS[kept] == year], [members[-1] + 1]])
        assert np.diff(chosen).max() <= 2 * np.ceil(1 / share)


def test_subset_does_not_alias_the_hours_of_the_day() -> None:
    """A regular stride of 4 six-hourly states would keep one hour of the day only."""
    kept = stratified_subset(np.zeros(1460), 0.25)
    counts = np.bincount(kept % 4, minlength=4)
    assert counts.min() > 0.8 * counts.max()


def test_years_need_not_be_in_one_piece() -> None:
    strata = np.array([1, 2] * 50)
    kept = stratified_subset(strata, 0.2)
    assert np.bincount(strata[kept]).tolist() == [0, 10, 10]


# --- training order ---


def test_epoch_is_a_permutation_that_depends_on_seed_and_epoch_only() -> None:
    orders = {(seed, epoch): epoch_order(seed, epoch, 101).tolist() for seed in (1, 2) for epoch in (0, 1, 2)}
    assert all(sorted(order) == list(range(101)) for order in orders.values())
    assert len({tuple(order) for order in orders.values()}) == len(orders)
    epoch_order.cache_clear()
    assert epoch_order(1, 2, 101).tolist() == orders[1, 2]


def test_epoch_order_is_the_same_in_every_release() -> None:
    """A resumed run of an older release would otherwise see some samples twice and others not at all."""
    assert epoch_order(42, 0, 10).tolist() == [9, 1, 3, 5, 8, 0, 6, 4, 7, 2]
    assert epoch_order(42, 1, 10).tolist() == [8, 3, 5, 6, 2, 0, 4, 1, 9, 7]


def test_order_cannot_be_changed_by_a_caller() -> None:
    with pytest.raises(ValueError, match="read-only"):
        epoch_order(1, 0, 10)[0] = 3


@pytest.mark.parametrize(("samples", "batch_size"), [(48, 8), (50, 8), (8, 8)])
def test_each_sample_comes_up_at_most_once_an_epoch(samples: int, batch_size: int) -> None:
    steps = steps_per_epoch(samples, batch_size)
    assert steps == samples // batch_size
    for epoch in range(3):
        batches = [
            global_batch(epoch * steps + i, seed=1, samples=samples, batch_size=batch_size) for i in range(steps)
        ]
        assert all(batch.shape == (batch_size,) for batch in batches)
        seen = np.concatenate(batches)
        assert len(set(seen.tolist())) == seen.size == steps * batch_size
        assert 0 <= seen.min() <= seen.max() < samples


def test_samples_left_over_come_up_in_other_epochs() -> None:
    seen = {
        int(position)
        for step in range(6 * steps_per_epoch(11, 4))
        for position in global_batch(step, seed=1, samples=11, batch_size=4)
    }
    assert seen == set(range(11))


def test_batch_needs_the_step_number_only() -> None:
    """Resuming from any step, with nothing remembered, goes on as the run that was never stopped."""
    settings = {"seed": 9, "samples": 37, "batch_size": 5}
    unbroken = [global_batch(step, **settings).tolist() for step in range(30)]
    for step in (29, 0, 13, 7, 21, 6):
        epoch_order.cache_clear()
        assert global_batch(step, **settings).tolist() == unbroken[step]


def test_batch_larger_than_the_data_is_refused_with_both_numbers() -> None:
    with pytest.raises(ConfigError, match="training.batch_size = 9 exceeds the 8 training samples"):
        steps_per_epoch(8, 9)
    with pytest.raises(ConfigError):
        global_batch(0, seed=1, samples=8, batch_size=9)


@pytest.mark.parametrize(
    ("world_size", "micro_batch_size"), [(1, 16), (1, 4), (2, 8), (2, 2), (4, 4), (4, 1), (8, 1), (16, 1)]
)
def test_global_batch_is_the_same_at_every_world_size(world_size: int, micro_batch_size: int) -> None:
    for step in (0, 3, 7):
        batch = global_batch(step, seed=4, samples=90, batch_size=16)
        shares = [
            rank_share(batch, rank=rank, world_size=world_size, micro_batch_size=micro_batch_size)
            for rank in range(world_size)
        ]
        accumulation = 16 // (world_size * micro_batch_size)
        assert all(share.shape == (accumulation, micro_batch_size) for share in shares)
        assert sorted(np.concatenate(shares, axis=None).tolist()) == sorted(batch.tolist())


# --- evaluation ---


@pytest.mark.parametrize("samples", [0, 1, 2, 7, 8, 9, 23])
@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
@pytest.mark.parametrize("micro_batch_size", [1, 2, 4])
def test_evaluation_counts_every_sample_once(samples: int, world_size: int, micro_batch_size: int) -> None:
    shares = [
        evaluation_share(samples, rank=rank, world_size=world_size, micro_batch_size=micro_batch_size)
        for rank in range(world_size)
    ]
    assert len({len(batches) for batches in shares}) == 1, "a rank with fewer batches would leave the others waiting"
    assert len(shares[0]) == -(-samples // (world_size * micro_batch_size)), "no round in which nobody has anything"
    assert all(batch.size <= micro_batch_size for batches in shares for batch in batches)
    seen = [int(position) for batches in shares for batch in batches for position in batch]
    assert sorted(seen) == list(range(samples))

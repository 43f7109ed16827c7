"""Every random number follows from the seed and its purpose."""

from __future__ import annotations

import torch

from weather.runtime.seeds import derive_seed, seed_step, seed_weights


def drawn() -> list[float]:
    return torch.rand(4).tolist()


def test_seeds_are_the_same_in_every_process_and_version() -> None:
    # A run that is resumed by a later version must go on with the samples and the dropout that it began with.
    assert derive_seed(42, "weights") == 8498808731012812426
    assert derive_seed(42, "step", 7, 1) == 2938722578915088308


def test_seeds_differ_by_purpose() -> None:
    purposes: list[tuple[int | str, ...]] = [("weights",), ("order", 0), ("order", 1), ("step", 0, 0), ("step", 0, 1)]
    purposes += [("step", 1, 0), ("step", 10), ("step", 1, 0, 0)]
    seeds = {derive_seed(seed, *purpose) for seed in (0, 1, 2**32 - 1) for purpose in purposes}
    assert len(seeds) == 3 * len(purposes)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_step_draws_the_same_whatever_was_drawn_before() -> None:
    seed_step(42, 17, 3)
    first = drawn()
    drawn()
    seed_step(42, 17, 3)
    assert drawn() == first


def test_steps_and_ranks_draw_apart() -> None:
    draws = []
    for step, rank in [(0, 0), (1, 0), (0, 1), (1, 1)]:
        seed_step(42, step, rank)
        draws.append(tuple(drawn()))
    assert len(set(draws)) == 4


def test_weights_draw_the_same_on_every_rank() -> None:
    seed_weights(42)
    first = drawn()
    seed_step(42, 0, 1)
    seed_weights(42)
    assert drawn() == first
    seed_weights(43)
    assert drawn() != first

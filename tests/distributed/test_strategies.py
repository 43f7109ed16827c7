"""Every strategy walks the losses, norms and weights of a single process."""

from __future__ import annotations

import pytest
import torch

from tests.distributed.runs import Run, Workplace
from tests.distributed.strategies import FOUR_RANKS, SINGLE, TWO_RANKS, Case

# float32 sums over the batch and over slices are taken in another order; observed differences are below 2e-7.
TOLERANCE = 1e-6
# bfloat16 has 8 bits: products are rounded to 2^-9 of their size, and differently where a micro-batch is split
# otherwise. Observed differences of losses near 1 are below 1e-4, of weights (learning rate 3e-3, 6 steps) below 2e-3.
BF16_LOSS, BF16_WEIGHT = 1e-3, 6e-3

# 26 samples make 3 steps an epoch; clipping is active, for the norm is above 0.01; the average has weights of its own.
COMMON = ("batch_size=8", "max_steps=6", "gradient_clipping=0.01", "ema_decay=0.9")
BF16 = ("precision=bf16",)
ACCUMULATED = {1: "micro_batch_size=2", 2: "micro_batch_size=1", 4: "micro_batch_size=1"}


def runs(cases: dict[str, Case], *, suffix: str = "", more: tuple[str, ...] = ()) -> list[Run]:
    return [Run(name + suffix, (*COMMON, *case.settings, *more)) for name, case in cases.items()]


@pytest.fixture(scope="module")
def reference(workplace: Workplace) -> Workplace:
    """A single process, with the batch at once and in four micro-batches, and in bf16."""
    single = {"single": SINGLE}
    workplace.run_many(
        runs(single) + runs(single, suffix="_x4", more=(ACCUMULATED[1],)) + runs(single, suffix="_bf16", more=BF16),
        ranks=1,
    )
    assert min(record["grad_norm"] for record in workplace.records("single", "train")) > 0.01
    return workplace


@pytest.fixture(scope="module")
def two_ranks(reference: Workplace) -> Workplace:
    reference.run_many(runs(TWO_RANKS) + runs(TWO_RANKS, suffix="_x4", more=(ACCUMULATED[2],)), ranks=2)
    return reference


@pytest.fixture(scope="module")
def four_ranks(reference: Workplace) -> Workplace:
    """Twice as many ranks as cores: slow, and the only place where groups of groups show."""
    reference.run_many(runs(FOUR_RANKS), ranks=4)
    return reference


@pytest.fixture(scope="module")
def half_precision(reference: Workplace) -> Workplace:
    reference.run_many(runs(TWO_RANKS, suffix="_bf16", more=BF16), ranks=2)
    return reference


def assert_alike(place: Workplace, name: str, reference: str, *, loss: float, norm: float, weight: float) -> None:
    assert place.losses(name) == pytest.approx(place.losses(reference), abs=loss)
    norms = {run: [record["grad_norm"] for record in place.records(run, "train")] for run in (name, reference)}
    assert norms[name] == pytest.approx(norms[reference], abs=norm)
    ours, theirs = place.tensors(name), place.tensors(reference)
    assert ours.keys() == theirs.keys()
    for key in theirs:
        torch.testing.assert_close(ours[key], theirs[key], rtol=0, atol=weight, msg=lambda m, k=key: f"{k}: {m}")
    scores = [[record["loss"] for record in place.records(run, "validation")] for run in (name, reference)]
    assert scores[0] == pytest.approx(scores[1], abs=loss)


def test_accumulation_changes_nothing(reference: Workplace) -> None:
    assert_alike(reference, "single_x4", "single", loss=TOLERANCE, norm=TOLERANCE, weight=TOLERANCE)


@pytest.mark.parametrize("suffix", ["", "_x4"], ids=["at_once", "accumulated"])
@pytest.mark.parametrize("name", TWO_RANKS)
def test_two_ranks_agree_with_one_process(two_ranks: Workplace, name: str, suffix: str) -> None:
    assert_alike(two_ranks, name + suffix, "single", loss=TOLERANCE, norm=TOLERANCE, weight=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("name", FOUR_RANKS)
def test_four_ranks_agree_with_one_process(four_ranks: Workplace, name: str) -> None:
    assert_alike(four_ranks, name, "single", loss=TOLERANCE, norm=TOLERANCE, weight=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("name", TWO_RANKS)
def test_bfloat16_agrees_to_its_rounding(half_precision: Workplace, name: str) -> None:
    assert_alike(half_precision, f"{name}_bf16", "single_bf16", loss=BF16_LOSS, norm=1e-2, weight=BF16_WEIGHT)

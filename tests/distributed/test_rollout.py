"""Several forecasts in a row, random leads: every strategy walks the losses and weights of a single process."""

from __future__ import annotations

import pytest

from tests.distributed.runs import Run, Workplace
from tests.distributed.strategies import SINGLE, TWO_RANKS
from tests.distributed.test_strategies import TOLERANCE, assert_alike

# One, two, then three forecasts, over two micro-batches; 25 samples make 3 steps an epoch; clipping is active.
COMMON = (
    *("batch_size=8", "max_steps=6", "gradient_clipping=0.01"),
    *("rollout_schedule={0: 1, 1: 2, 4: 3}", "predict=tendency"),
)
LEADS = ("random_leads=[1,2]",)
RECOMPUTED = ("rollout_checkpointing=true",)


@pytest.fixture(scope="module")
def reference(workplace: Workplace) -> Workplace:
    workplace.run_many(
        [
            Run("single", (*COMMON, *SINGLE.settings)),
            Run("single_recomputed", (*COMMON, *SINGLE.settings, *RECOMPUTED)),
            Run("single_leads", (*COMMON, *LEADS, *SINGLE.settings)),
        ],
        ranks=1,
    )
    return workplace


@pytest.fixture(scope="module")
def two_ranks(reference: Workplace) -> Workplace:
    """All strategies keep all activations of their rollouts, recompute them, and are given random leads."""
    runs = []
    for name, case in TWO_RANKS.items():
        both = (*COMMON, "micro_batch_size=2", *case.settings)
        runs += [Run(name, both), Run(f"{name}_recomputed", (*both, *RECOMPUTED))]
        runs.append(Run(f"{name}_leads", (*both, *LEADS, *RECOMPUTED)))
    reference.run_many(runs, ranks=2)
    return reference


def test_recomputed_forecasts_have_the_same_gradients(reference: Workplace) -> None:
    assert_alike(reference, "single_recomputed", "single", loss=0, norm=0, weight=0)


@pytest.mark.parametrize("suffix", ["", "_recomputed", "_leads"])
@pytest.mark.parametrize("name", TWO_RANKS)
def test_two_ranks_agree_with_one_process(two_ranks: Workplace, name: str, suffix: str) -> None:
    expected = "single_leads" if suffix == "_leads" else "single"
    assert_alike(two_ranks, name + suffix, expected, loss=TOLERANCE, norm=TOLERANCE, weight=TOLERANCE)

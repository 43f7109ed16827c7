"""Validation and evaluation give the same scores at every world size and with every split of the batch."""

from __future__ import annotations

import json

import pytest

from tests.distributed.runs import Run, Workplace

EXTRA_INPUTS = ("data.extra_inputs=[longitude,time_of_day,insolation]",)


@pytest.fixture(scope="module")
def reference(workplace: Workplace) -> Workplace:
    """A single process that takes the batch at once, and the same run split otherwise."""
    workplace.run_many(
        [Run("reference", ()), Run("accumulated", ("micro_batch_size=1",)), Run("extra", EXTRA_INPUTS)], ranks=1
    )
    two_ranks = ("strategy=ddp", "micro_batch_size=1")
    workplace.run_many(
        [Run("two_ranks_accumulated", two_ranks), Run("two_ranks_extra", (*two_ranks, *EXTRA_INPUTS))], ranks=2
    )
    return workplace


def test_extra_inputs_are_the_same_on_every_rank(reference: Workplace) -> None:
    assert reference.losses("extra") != reference.losses("reference")
    assert reference.losses("two_ranks_extra") == pytest.approx(reference.losses("extra"), abs=1e-6)  # of float32
    ours, theirs = (reference.records(run, "validation")[-1]["loss"] for run in ("two_ranks_extra", "extra"))
    assert ours == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize("split", ["accumulated", "two_ranks_accumulated"])
def test_every_validation_sample_counts_once(reference: Workplace, split: str) -> None:
    """7 samples on 2 ranks in batches of 1 and of 4: the same scores."""
    ours, theirs = reference.records(split, "validation"), reference.records("reference", "validation")
    assert [record["samples"] for record in ours] == [7, 7, 7]
    for one, other in zip(ours, theirs, strict=True):
        assert one == pytest.approx(other, abs=1e-5)  # physical units of order 1, after weights within 1e-6


def test_indivisible_batch_is_refused(workplace: Workplace) -> None:
    output = workplace.run("indivisible", "batch_size=5", ranks=2, status=1)
    assert "training.batch_size = 5 is not a multiple of 2 ranks x micro-batch 2 = 4" in output
    assert "4 or 6" in output
    assert "weather/strategies" not in output  # a line for people, no traceback of ours


def test_evaluation_is_the_same_at_every_world_size(reference: Workplace) -> None:
    """`weather.evaluate` on 2 ranks, of one forecast and of three in a row from 3 initial times, as in one process;
    beside a run of another strategy with inputs of its own."""
    scores = {}
    for ranks in (1, 2):
        words = ("--leads", "6h,18h", "--baselines", "persistence,climatology,runs/two_ranks_extra")
        reference.evaluate("reference", f"scores_{ranks}.json", *words, ranks=ranks)
        scores[ranks] = json.loads((reference.folder / f"scores_{ranks}.json").read_text())
    for channel, by_lead in scores[1].items():
        assert list(by_lead) == ["6", "18"]
        for lead, sources in by_lead.items():
            assert list(sources) == ["model", "persistence", "climatology", "two_ranks_extra"]
            for source, values in sources.items():
                assert scores[2][channel][lead][source] == pytest.approx(values, rel=1e-6, abs=1e-9)
    assert json.loads((reference.folder / "scores_2.origin.json").read_text())["samples"] == 3

"""What any strategy at any world size has saved, any other goes on from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.distributed.runs import Run, Workplace
from tests.distributed.strategies import FOUR_RANKS, SINGLE, TWO_RANKS, Case

TOLERANCE = 1e-6  # rounding of sums in another order, grown over the steps; observed below 3e-7

# A constant learning rate, because the length of the run is changed on the way.
COMMON = ("batch_size=8", "schedule=constant", "ema_decay=0.9", "save_frequency=0", "eval_frequency=0")
SAVED, HALF_WAY, LAST = 3, 5, 7

ALL = {"single": SINGLE, **TWO_RANKS, **FOUR_RANKS}
SAVERS = ("single", "ddp2", "fsdp2", "hsdp4", "zero1", "zero2", "zero3")
RESUMERS = ("single", "ddp2", "fsdp2", "fsdp4", "zero2", "zero3")

# Each goes on for one step from where the one before has stopped.
RELAY = ("zero3", "fsdp4", "single", "zero2", "ddp2")


def run(name: str, case: Case, steps: int, resume: str | Path = "auto") -> Run:
    return Run(name, (*COMMON, *case.settings, f"max_steps={steps}"), resume)


@pytest.fixture(scope="module")
def saved(workplace: Workplace) -> Workplace:
    """An uninterrupted run, and a checkpoint of step 3 by each saver."""
    workplace.run_many([run("uninterrupted", SINGLE, LAST)], ranks=1)
    for ranks in (1, 2, 4):
        mine = [name for name in SAVERS if ALL[name].ranks == ranks]
        workplace.run_many([run(name, ALL[name], SAVED) for name in mine], ranks=ranks)
    return workplace


@pytest.fixture(scope="module")
def resumed(saved: Workplace) -> Workplace:
    """From each checkpoint each resumer goes on to step 5, and, started again, to step 7."""
    for ranks in (1, 2, 4):
        runs = []
        for resumer in (name for name in RESUMERS if ALL[name].ranks == ranks):
            for saver in SAVERS:
                name, path = f"{saver}_to_{resumer}", saved.newest(saver)
                runs.append(run(name, ALL[resumer], HALF_WAY, path))
                runs.append(run(name, ALL[resumer], LAST))
        saved.run_many(runs, ranks=ranks)
    return saved


@pytest.mark.slow
@pytest.mark.parametrize("resumer", RESUMERS)
@pytest.mark.parametrize("saver", SAVERS)
def test_any_goes_on_from_any_twice(resumed: Workplace, saver: str, resumer: str) -> None:
    name = f"{saver}_to_{resumer}"
    records = resumed.records(name, "train")
    assert [record["step"] for record in records] == list(range(SAVED + 1, LAST + 1))
    assert [r["step"] for r in resumed.records(name, "resume")] == [SAVED, HALF_WAY]
    expected = resumed.losses("uninterrupted")[SAVED:]
    assert [record["loss"] for record in records] == pytest.approx(expected, abs=TOLERANCE)
    ours, theirs = resumed.tensors(name), resumed.tensors("uninterrupted")
    assert ours.keys() == theirs.keys()
    assert max(float((ours[key] - theirs[key]).abs().max()) for key in theirs) < TOLERANCE


@pytest.mark.slow
def test_a_relay_through_every_strategy(workplace: Workplace) -> None:
    """One run, handed on from strategy to strategy; each resumes what another has resumed."""
    for steps, name in enumerate(RELAY, start=1):
        workplace.run_many([run("relay", ALL[name], steps)], ranks=ALL[name].ranks)
    workplace.run_many([run("alone", SINGLE, len(RELAY))], ranks=1)
    assert workplace.losses("relay") == pytest.approx(workplace.losses("alone"), abs=TOLERANCE)

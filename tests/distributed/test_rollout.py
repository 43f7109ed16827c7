"""Several forecasts in a row, random leads: every strategy walks the losses and weights of a single process."""

from __future__ import annotations

import pytest

from tests.distributed.runs import Run, Workplace, assert_same_bits
from tests.distributed.strategies import SINGLE, TWO_RANKS
from tests.distributed.test_strategies import TOLERANCE, assert_alike
from weather.config.files import load_config
from weather.data.statistics import write_record
from weather.data.statistics_collection import collect
from weather.errors import CheckpointError
from weather.training.checkpoint import complete_checkpoints
from weather.training.preparation import prepare
from weather.training.resume import find_resume_point

# One, two, then three forecasts, over two micro-batches a rank; 2 or 3 steps an epoch; clipping is active.
COMMON = ("batch_size=8", "max_steps=6", "gradient_clipping=0.01", "predict=tendency")
ROLLOUTS = (*COMMON, "rollout_schedule={0: 1, 1: 2, 4: 3}")
LEADS = ("random_leads=[1,2]", "tendency_scale=difference")
RECOMPUTED = ("rollout_checkpointing=true",)
KINDS = {"": (), "_recomputed": RECOMPUTED, "_leads": (*LEADS, *RECOMPUTED)}
ON_TWO_RANKS = ("", "_leads")


@pytest.fixture(scope="module")
def reference(workplace: Workplace) -> Workplace:
    archive = workplace.folder / "archive"
    write_record(archive, collect(archive, leads=(1, 2)))
    runs = [Run(f"single{kind}", (*ROLLOUTS, *SINGLE.settings, *more)) for kind, more in KINDS.items()]
    leads = (*ROLLOUTS, *SINGLE.settings, *LEADS, "dropout=0.1", "save_every_steps=3")
    runs += [Run("whole", leads), Run("stopped", leads, stop_at=3), Run("stopped", leads)]
    weights = f"initial_weights={workplace.folder}/checkpoints/single/checkpoint_epoch_2"
    tuned = (*COMMON, *SINGLE.settings, weights, "rollout_schedule={0: 2}", "max_steps=2", "learning_rate=1e-9")
    branch = (*COMMON, *SINGLE.settings, f"branch_from={workplace.folder}/checkpoints/single/checkpoint_epoch_1")
    sooner = Run("branch", (*branch, "rollout_schedule={0: 1, 1: 2, 3: 3}"))
    workplace.run_many([*runs, Run("tuned", tuned), sooner], ranks=1)
    return workplace


@pytest.fixture(scope="module")
def two_ranks(reference: Workplace) -> Workplace:
    """Every strategy keeps the activations of its rollouts; then it is given random leads, and recomputes."""
    both = {name: (*ROLLOUTS, "micro_batch_size=2", *TWO_RANKS[name].settings) for name in TWO_RANKS}
    reference.run_many([Run(n + kind, (*both[n], *KINDS[kind])) for n in both for kind in ON_TWO_RANKS], ranks=2)
    return reference


def test_recomputed_forecasts_have_the_same_gradients(reference: Workplace) -> None:
    assert_alike(reference, "single_recomputed", "single", loss=0, norm=0, weight=0)


def test_two_ranks_stop_where_the_schedule_changes_and_go_on(reference: Workplace) -> None:
    """After step 4, from which on three forecasts are made in a row, with random leads and accumulation."""
    settings = (*ROLLOUTS, "micro_batch_size=2", *TWO_RANKS["ddp2"].settings, *KINDS["_leads"])
    reference.run_many([Run("pair", settings, stop_at=3), Run("pair", settings)], ranks=2)
    assert [record["step"] for record in reference.records("pair", "resume")] == [4]
    assert [record["forecasts"] for record in reference.records("pair", "train")] == [1, 2, 2, 2, 3, 3]
    assert_alike(reference, "pair", "single_leads", loss=TOLERANCE, norm=TOLERANCE, weight=TOLERANCE)
    ours, alone = (reference.records(run, "validation")[-1] for run in ("pair", "single_leads"))
    assert list(ours["leads"]) == ["6", "12"] and ours["leads_loss"] is not None
    for hours, found in ours["leads"].items():
        assert found == pytest.approx(alone["leads"][hours], abs=TOLERANCE)
    assert reference.records("pair", "stop")[-1]["flops"] == reference.records("single_leads", "stop")[-1]["flops"]


def test_flops_follow_the_schedule(reference: Workplace) -> None:
    spent = [record["flops"] for record in reference.records("single", "train")]
    first = spent[0]
    assert spent == [first * forecasts for forecasts in (1, 3, 5, 7, 10, 13)]
    assert [record["forecasts"] for record in reference.records("single", "train")] == [1, 2, 2, 2, 3, 3]
    assert reference.records("single", "stop")[-1]["flops"] == 13 * first


def test_a_stopped_run_goes_on_with_the_same_leads(reference: Workplace) -> None:
    assert len(reference.records("stopped", "resume")) == 1
    assert reference.losses("stopped") == reference.losses("whole")
    assert_same_bits(reference.tensors("stopped"), reference.tensors("whole"))


def test_fine_tuning_begins_at_the_weights_and_at_step_0(reference: Workplace) -> None:
    """Its first validation is that of the run that it goes on from: its learning rate is next to nothing."""
    before, after = (reference.records(run, "validation")[-1] for run in ("single", "tuned"))
    assert after["loss"] == pytest.approx(before["loss"], abs=1e-6)
    assert [record["step"] for record in reference.records("tuned", "train")] == [1, 2]
    assert "rollout_loss" in after
    saved = complete_checkpoints(reference.folder / "checkpoints" / "tuned")[-1].progress
    assert saved.rollout_loss == after["rollout_loss"] and saved.rollout_forecasts > 1


def test_a_branch_may_roll_out_further_from_where_it_begins(reference: Workplace) -> None:
    first = reference.records("single", "train")[0]["flops"]
    branch = reference.records("branch", "train")
    assert [(record["step"], record["flops"] // first) for record in branch] == [(4, 8), (5, 11), (6, 14)]


def test_forecasts_that_were_made_cannot_be_changed(reference: Workplace) -> None:
    """Their FLOPs are counted by the schedule."""
    assert_refused(reference, "{0: 1, 2: 2, 4: 3}", "training.rollout_schedule before step 3 was")


def test_the_longest_rollout_cannot_be_changed(reference: Workplace) -> None:
    """It decides which samples have truth, and so the order of all."""
    assert_refused(reference, "{0: 1, 1: 2, 4: 4}", "longest rollout .*was 3 and is now 4.*initial_weights")


def assert_refused(place: Workplace, schedule: str, message: str) -> None:
    """A run with this schedule cannot go on from the trunk, which has made three steps."""
    settings = [*COMMON, f"data.data_dir={place.folder}/archive", f"rollout_schedule={schedule}"]
    prepared = prepare(load_config(place.folder / "configs.yaml", "tiny", settings))
    trunk = str(place.folder / "checkpoints/single/checkpoint_epoch_1")
    with pytest.raises(CheckpointError, match=message):
        find_resume_point(place.folder / "checkpoints/other", place.folder / "runs/other", trunk, prepared)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ON_TWO_RANKS)
@pytest.mark.parametrize("name", TWO_RANKS)
def test_every_strategy_agrees_with_one_process(two_ranks: Workplace, name: str, kind: str) -> None:
    assert_alike(two_ranks, name + kind, f"single{kind}", loss=TOLERANCE, norm=TOLERANCE, weight=TOLERANCE)

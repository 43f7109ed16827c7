"""Trunks and branches: where they part, where they end, what they cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.archives import WrittenArchive
from tests.study.design.studies import description
from weather.errors import ConfigError
from weather.study.design.plan import plan_study
from weather.study.design.totals import totals, trunk_share
from weather.study.folder import StudyFolder
from weather.study.planned import StudyPlan
from weather.training.schedule import learning_rate


@pytest.fixture
def archive(make_archive: Callable[..., WrittenArchive]) -> WrittenArchive:
    return make_archive(grid=(8, 16))


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return StudyFolder(tmp_path / "experiments" / "one")


@pytest.fixture
def plan(archive: WrittenArchive, folder: StudyFolder) -> Callable[..., StudyPlan]:
    return lambda **settings: plan_study(description(archive, **settings), folder)


def test_a_branch_leaves_where_its_rate_begins_to_fall_and_ends_on_its_budget(plan: Callable[..., StudyPlan]) -> None:
    found = plan(seeds=[1, 2], schedule={"learning_rate": 1e-3, "warmup_steps": 2, "cooldown_fraction": 0.3})
    assert len(found.runs) == 2 * 2 * (1 + 2)
    for branch in (run for run in found.runs if run.role == "branch"):
        training, steps = branch.config.training, branch.cost.steps
        rates = [learning_rate(step, steps, training) for step in range(steps)]
        # The first step of a cooldown still has the peak rate.
        assert rates[2 : branch.first_step + 1] == [1e-3] * (branch.first_step - 1)
        assert rates[branch.first_step + 1] < 1e-3
        trunk = found.run(str(branch.trunk))
        held = [learning_rate(step, trunk.cost.steps, trunk.config.training) for step in range(branch.first_step)]
        assert held == rates[: branch.first_step]
        assert branch.first_step in trunk.config.training.save_at_steps
        assert branch.labels == {**trunk.labels, "budget": training.flops_budget}
        flops_per_step = branch.cost.flops // steps
        assert 0 <= branch.labels["budget"] - branch.cost.flops < flops_per_step
        assert found.runs.index(trunk) < found.runs.index(branch)


def test_independent_runs_have_no_trunk(plan: Callable[..., StudyPlan]) -> None:
    together, apart = plan(), plan(independent=True)
    assert {run.role for run in apart.runs} == {"run"}
    assert [run.cost.steps for run in apart.runs] == [run.cost.steps for run in together.runs if run.role == "branch"]
    assert totals(apart).flops == totals(apart).independent_flops == totals(together).independent_flops
    assert totals(together).flops < totals(apart).flops


def test_what_trunks_save_is_stated_as_it_is(plan: Callable[..., StudyPlan]) -> None:
    budgets = [4e7 * 2**n for n in range(6)]
    found = plan(budgets=budgets)
    # Whole steps: the rounding of each run is below a step of some 20.
    assert totals(found).share == pytest.approx(trunk_share(budgets, 0.2), rel=0.03)
    assert f"{totals(found).share:.1%} of the" in found.remarks[-1]


def test_for_which_spacings_a_third_is_enough() -> None:
    """Six budgets, each r times the one before: the last trunk alone may cost more than a third."""
    assert trunk_share([2.0**n for n in range(6)], 0.2) == pytest.approx(0.2 + 0.8 * 32 / 63)
    spacings = np.linspace(1.01, 3, 200)

    def cheap(fraction: float, budgets: int) -> Any:
        shares = np.array([trunk_share(r ** np.arange(budgets), fraction) for r in spacings])
        assert np.all(np.diff(shares) > 0)
        return spacings[shares <= 1 / 3]

    # (1 - f) / 6 + f of equal budgets is just a third at f = 0.2, and more with any spacing.
    assert not cheap(0.2, 6).size
    assert cheap(0.1, 6).max() == pytest.approx(1.22, abs=0.02)
    assert cheap(0.05, 6).max() == pytest.approx(1.32, abs=0.02)


def test_a_trunk_costs_nothing_beside_its_steps(plan: Callable[..., StudyPlan]) -> None:
    overrides = {"training.save_every_minutes": 30, "training.ema_decay": 0.9}
    for run in plan(overrides=overrides).runs:
        training = run.config.training
        assert (training.eval_frequency, training.save_frequency, training.max_checkpoints) == (0, 0, 1)
        assert training.save_every_minutes == 30
        # Weights, moments and their average, at each point where a branch leaves, and at the end.
        points = len(training.save_at_steps) or 1
        assert run.cost.storage_bytes == 4 * 4 * run.cost.parameters * points


def test_learning_rate_and_warmup_follow_their_rules(plan: Callable[..., StudyPlan]) -> None:
    rule = {"value": 1e-3, "parameters": 1e4, "exponent": -0.5}
    found = plan(schedule={"learning_rate": rule, "warmup_share": 0.1})
    for run in found.runs:
        expected = 1e-3 * (run.cost.parameters / 1e4) ** -0.5
        assert run.config.training.learning_rate == pytest.approx(expected, rel=1e-3)
        first = next(other for other in found.runs if other.trunk == (run.trunk or run.name))
        assert run.config.training.warmup_steps == round(0.1 * first.cost.steps), "that of its trunk"


def test_flags(plan: Callable[..., StudyPlan]) -> None:
    def flags(**settings: Any) -> set[str]:
        return {flag.partition(":")[0] for run in plan(**settings).runs for flag in run.flags}

    assert flags() == set()
    assert flags(fewest_steps=1000) == {"few steps"}
    assert flags(most_epochs=1) == {"data repeat"}
    assert flags(placement={"memory_gigabytes": 1e-4}) == {"out of memory"}
    long = {"learning_rate": 1e-3, "warmup_steps": 10**6}
    assert flags(schedule=long) == {"never at its peak rate"}
    steps = min(run.cost.steps for run in plan().runs if run.role == "branch")
    assert "long warm-up" in flags(schedule={"learning_rate": 1e-3, "warmup_steps": int(0.6 * steps)})


def test_budgets_without_a_bracket_are_named(plan: Callable[..., StudyPlan]) -> None:
    assert [remark for remark in plan().remarks if "4e+07 not bracketed: 2 size(s)" in remark]
    family = {"head_dim": 4, "width_per_layer": 8, "widths": [8, 12, 16, 24], "within": 2.0}
    expected = {"exponent": 0.5, "coefficient": 0.5}
    found = plan(family=family, expected=expected)
    assert "w24l3-c4e+07-seed42" not in {run.name for run in found.runs}
    assert any("not bracketed" in remark for remark in found.remarks)


def test_a_budget_that_pays_for_no_cooldown_is_impossible(plan: Callable[..., StudyPlan]) -> None:
    found = plan(budgets=[1e5, 4e7])
    assert {each.labels["budget"] for each in found.impossible} == {1e5}
    assert "pay for 0 step(s)" in found.impossible[0].reason
    assert {run.labels.get("budget") for run in found.runs} == {None, 4e7}


def test_what_the_plan_decides_cannot_be_overridden(plan: Callable[..., StudyPlan]) -> None:
    with pytest.raises(ConfigError, match="training.seed; a study's plan decides it, by its seeds"):
        plan(overrides={"seed": 3})
    with pytest.raises(ConfigError, match="unknown key 'training.bath_size'"):
        plan(overrides={"training.bath_size": 3})
    with pytest.raises(ConfigError, match="nothing was calibrated yet"):
        plan(schedule={"learning_rate": "calibrated", "warmup_steps": 1})

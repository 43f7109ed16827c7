"""Predicted times come from real steps on this device, and are said to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.archives import WrittenArchive
from tests.study.design.studies import description
from weather.errors import DataError
from weather.study.design import probe
from weather.study.design.plan import plan_study
from weather.study.design.probe import probe_plan, probe_source, read_probe, with_probe, with_rate
from weather.study.folder import StudyFolder
from weather.study.planned import StudyPlan


@pytest.fixture
def plan(make_archive: Callable[..., WrittenArchive], tmp_path: Path) -> Callable[..., StudyPlan]:
    archive = make_archive(grid=(8, 16))
    return lambda **settings: plan_study(description(archive, **settings), StudyFolder(tmp_path / "one"))


def test_a_given_rate_is_one_of_a_device(plan: Callable[..., StudyPlan]) -> None:
    placement = {"strategy": "ddp", "devices": 2, "num_nodes": 1}
    for run in with_rate(plan(placement=placement), lambda _: 1e6).runs:
        assert run.cost.seconds == pytest.approx(run.own_flops / 2e6)
    assert all(run.cost.seconds is None for run in plan().runs)


def test_sizes_are_measured_once_and_again_when_they_change(
    plan: Callable[..., StudyPlan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure, measured = probe._measure, []
    monkeypatch.setattr(probe, "_measure", lambda *given: (measured.append(given[0].name), measure(*given))[1])
    budgets = [2e8, 4e8]
    timed = probe_plan(plan(budgets=budgets), tmp_path, device="cpu", steps=3)
    assert len(measured) == 2
    records = read_probe(tmp_path)
    for run in timed.runs:
        rate = records[run.labels["size"]]["flops_per_second"]
        assert run.cost.seconds == pytest.approx(run.own_flops / rate)
        assert rate == pytest.approx(
            run.cost.flops / run.cost.steps / records[run.labels["size"]]["seconds_per_step"], rel=1e-6
        )
    assert "measured on cpu, fp32, 20" in probe_source(records)
    again = probe_plan(plan(budgets=budgets), tmp_path, device="cpu", steps=3)
    assert [run.cost for run in again.runs] == [run.cost for run in timed.runs]
    assert len(measured) == 2
    larger = plan(budgets=budgets, overrides={"training.batch_size": 4})
    assert all(run.cost.seconds is None for run in with_probe(larger, read_probe(tmp_path)).runs), "of another batch"
    probe_plan(larger, tmp_path, device="cpu", steps=3)
    assert len(measured) == 4


def test_a_damaged_file_is_a_line(tmp_path: Path) -> None:
    (tmp_path / "probe.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        read_probe(tmp_path)
    (tmp_path / "probe.json").write_text('{"w8": {}}')
    with pytest.raises(DataError, match="no record of measurements"):
        read_probe(tmp_path)

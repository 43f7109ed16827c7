"""The next run is foretold before it is planned, however often that is cut short."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.archives import WrittenArchive
from tests.study.design.studies import description
from tests.study.results.made_up import LAW
from weather.errors import DataError
from weather.study.design.plan import plan_study
from weather.study.folder import StudyFolder
from weather.study.results import next_run
from weather.study.results.next_run import NextRun, register_next_run, registered_next_run
from weather.study.results.table import read_table

BUDGET = 1.6e8


@pytest.fixture
def folder(tmp_path: Path, make_archive: Callable[..., WrittenArchive], monkeypatch: pytest.MonkeyPatch) -> StudyFolder:
    """A study that is planned; its table says what a known law says."""
    found = StudyFolder(tmp_path / "experiments" / "one")
    found.write_plan(plan_study(description(make_archive(grid=(8, 16))), found))
    rows = [
        f"n{size}_d{samples},{size},{samples},{6 * size * samples},{LAW.loss(size, samples)}"
        for size in (500, 1000, 2000, 4000)
        for samples in (1000, 3000, 9000)
    ]
    table = found.path / "table.csv"
    table.write_text("\n".join(["name,N,D,C,loss", *rows]) + "\n")
    monkeypatch.setattr(next_run, "table_of", lambda path, most_epochs: read_table(table, most_epochs=most_epochs))
    return found


def foretold(folder: StudyFolder) -> NextRun:
    return register_next_run(folder, budget=BUDGET, draws=20)


def test_cut_short_before_it_is_planned_nothing_but_the_prediction_stands(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = folder.read_plan().runs
    with monkeypatch.context() as cut:
        cut.setattr(next_run, "register", _cut)
        with pytest.raises(KeyboardInterrupt):
            foretold(folder)
    # `start` would train a planned run, of which nothing could be foretold any more.
    assert [run.name for run in folder.read_plan().runs] == [run.name for run in before]

    with monkeypatch.context() as cut:
        cut.setattr(StudyFolder, "write_plan", _cut)
        with pytest.raises(KeyboardInterrupt):
            foretold(folder)
    (stands,) = (folder.path / "predictions").glob("*.json")
    said = stands.read_bytes()
    found = foretold(folder)
    assert found.registered == stands and stands.read_bytes() == said
    assert folder.read_plan().runs[-1].name == found.run.name == stands.stem
    assert registered_next_run(folder, BUDGET) == stands


def test_an_edited_prediction_is_not_taken_up(folder: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as cut:
        cut.setattr(StudyFolder, "write_plan", _cut)
        with pytest.raises(KeyboardInterrupt):
            foretold(folder)
    (stands,) = (folder.path / "predictions").glob("*.json")
    stands.write_text(json.dumps({**json.loads(stands.read_text()), "level": 0.99}))
    with pytest.raises(DataError, match="was edited"):
        foretold(folder)


def _cut(*_args: object, **_keys: object) -> None:
    raise KeyboardInterrupt

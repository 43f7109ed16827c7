"""A study may be named by its folder's name or by its path; a table by its path alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from weather.study.commands.named_study import path_named, study_named


def test_a_study_by_name_or_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("experiments/one", "experiments/runs", "runs", "here"):
        Path(folder).mkdir(parents=True)
    for study in ("experiments/one", "here"):
        (Path(study) / "plan.json").touch()
    Path("table.csv").touch()
    for text, expected in (
        ("one", "experiments/one"),
        ("experiments/one", "experiments/one"),
        ("here", "here"),
        ("nobody", "experiments/nobody"),
    ):
        assert study_named(text).path == path_named(text) == Path(expected)
    assert path_named("runs") == Path("runs"), "a folder of runs is no study"
    assert path_named("table.csv") == Path("table.csv")
    assert path_named("missing.csv") == Path("missing.csv")

"""The table of skill comes back as it was written, and meets the table of runs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from weather.errors import DataError
from weather.study.results.skill import SkillRow, channel_errors, read_scores, read_skill, write_skill
from weather.study.results.table import read_table

ROW = SkillRow("a", "t2m", "K", 6.0, 2.0, 1.5, -0.1, 0.9, 3.0, 4.0, 12, "test")


def test_rows_come_back(tmp_path: Path) -> None:
    rows = [ROW, dataclasses.replace(ROW, lead_hours=72.0, rmse=None, mae=None, bias=None, acc=None, unit="")]
    write_skill(tmp_path / "skill.csv", rows)
    assert read_skill(tmp_path / "skill.csv") == rows
    assert (tmp_path / "skill.csv").read_text().splitlines()[:2] == [
        "run,channel,unit,lead_hours,rmse,mae,bias,acc,persistence_rmse,climatology_rmse,samples,split",
        "a,t2m,K,6,2.0,1.5,-0.1,0.9,3.0,4.0,12,test",
    ]


def test_scores_of_a_run_become_rows(tmp_path: Path) -> None:
    scores = {"rmse": 2.0, "mae": 1.5, "bias": -0.1, "acc": 0.9}
    blown = dict.fromkeys(scores)
    sources = {"persistence": {**scores, "rmse": 3.0}, "climatology": {**scores, "rmse": 4.0}}
    table = {"t2m": {"6": {"model": scores, **sources}, "72": {"model": blown, **sources}}}
    (tmp_path / "scores_test.json").write_text(json.dumps(table))
    with pytest.raises(DataError, match="verify again"):
        read_scores(tmp_path, "test")
    (tmp_path / "scores_test.origin.json").write_text(json.dumps({"units": {"t2m": "K"}, "samples": 12}))
    first, second = read_scores(tmp_path, "test")
    assert dataclasses.replace(first, run="a") == ROW
    assert (second.lead_hours, second.rmse, second.persistence_rmse) == (72.0, None, 3.0)
    assert read_scores(tmp_path, "valid") == []


def test_errors_by_run_channel_and_lead(tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text("name,N,C,loss\na,10,100,1\nb,20,100,2\nc,40,100,3\n")
    table = read_table(tmp_path / "runs.csv")
    rows = [
        ROW,
        dataclasses.replace(ROW, run="b", rmse=None),
        dataclasses.replace(ROW, run="a", lead_hours=72.0, rmse=5.0),
        dataclasses.replace(ROW, run="gone"),
        dataclasses.replace(ROW, run="c", split="valid"),
    ]
    errors = channel_errors(table, rows, "test")
    assert (errors.channels, errors.units, errors.leads) == (("t2m",), ("K",), (6.0, 72.0))
    np.testing.assert_array_equal(errors.squared[:, 0], [[4.0, 25.0], [np.inf, np.nan], [np.nan, np.nan]])
    with pytest.raises(DataError, match="none of the 3 runs.*'train'.*scores on test, valid"):
        channel_errors(table, rows, "train")
    with pytest.raises(DataError, match="two rows for a, t2m, 6 h"):
        channel_errors(table, [ROW, ROW], "test")


def test_a_damaged_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "skill.csv"
    with pytest.raises(DataError, match="weather.scaling verify"):
        read_skill(path)
    path.write_text("run,channel\na,t2m\n")
    with pytest.raises(DataError, match="line 2: no row of skill"):
        read_skill(path)
    write_skill(path, [ROW])
    path.write_text(path.read_text().replace("2.0", "two"))
    with pytest.raises(DataError, match="line 2: no row of skill.*two"):
        read_skill(path)

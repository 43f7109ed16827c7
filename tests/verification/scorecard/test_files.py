"""Files of numbers: what a reader gets back from them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from tests.verification.scorecard.made_up import ORIGIN, make_scores
from weather.verification.scorecard.estimates import estimate
from weather.verification.scorecard.files import (
    csv_file,
    full_file,
    origin_file,
    write_everything,
    write_scores,
    write_table,
)
from weather.verification.scores import Scores


def read_table(scores: Scores, tmp_path: Path) -> dict[tuple[str, ...], dict[str, str]]:
    path = csv_file(tmp_path / "scores_test.json")
    write_table(estimate(scores), path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    keys = ("channel", "lead_hours", "region", "source", "metric")
    table = {tuple(row[key] for key in keys): row for row in rows}
    assert len(table) == len(rows), "no number is there twice"
    return table


def test_the_scores_keep_their_format(tmp_path: Path) -> None:
    path = tmp_path / "new" / "scores_test.json"
    scores = make_scores(blown_up=2)
    write_scores(scores, ORIGIN, path)
    table = json.loads(path.read_text())
    assert list(table) == ["q850", "t850", "z500"]
    assert list(table["z500"]) == ["6", "24", "72"]
    assert {source: set(values) for source, values in table["z500"]["6"].items()} == {
        source: {"rmse", "mae", "bias", "acc"} for source in ("model", "persistence", "climatology")
    }
    expected = float(np.sqrt(scores.squared_error[1, 0, :, 1, 2].mean()))
    assert table["z500"]["24"]["persistence"]["rmse"] == pytest.approx(expected, rel=1e-12)
    assert table["z500"]["72"]["model"]["rmse"] is None
    origin = json.loads(origin_file(path).read_text())
    assert origin["blown_up"] == {"6": 0, "24": 0, "72": 2}
    assert (origin["samples"], origin["units"]["z500"], origin["step"]) == (30, "m2 s-2", 300)
    assert (origin["first_initial_time"], origin["last_initial_time"]) == ("2020-01-01T00:00:00", "2020-01-08T06:00:00")


def test_the_table_holds_every_number_with_its_interval(tmp_path: Path) -> None:
    scores = make_scores()
    table = read_table(scores, tmp_path)
    # 3 sources of 5 metrics, the truth's activity, and a skill and 3 differences to each of 2 baselines.
    assert len(table) == 3 * 3 * 2 * (3 * 5 + 1 + 2 * 4)
    row = table["t850", "24", "tropics", "model", "rmse"]
    interval = scores.interval("rmse", "model")
    found = [float(row[name]) for name in ("value", "low", "high")]
    assert found == pytest.approx([each[1, 1, 1] for each in (interval.estimate, interval.low, interval.high)])
    assert found[1] < found[0] < found[2]
    assert (row["unit"], row["samples"]) == ("K", "30")
    skill = table["t850", "24", "tropics", "model", "skill_persistence"]
    assert float(skill["value"]) == pytest.approx(scores.skill("persistence")[1, 1, 1])
    assert (skill["unit"], table["t850", "24", "tropics", "model", "acc"]["unit"]) == ("1", "1")
    difference = table["t850", "24", "tropics", "model", "rmse_minus_persistence"]
    assert float(difference["high"]) < 0, "two units against three, with errors of a tenth"
    assert float(table["t850", "24", "global", "truth", "activity"]["value"]) == pytest.approx(2.5)


def test_what_blew_up_is_empty(tmp_path: Path) -> None:
    table = read_table(make_scores(blown_up=1), tmp_path)
    row = table["z500", "72", "global", "model", "rmse"]
    assert (row["value"], row["low"], row["high"]) == ("", "", "")
    assert table["z500", "72", "global", "persistence", "rmse"]["value"] != ""


def test_everything_is_one_json(tmp_path: Path) -> None:
    scores, path = make_scores(blown_up=1), full_file(tmp_path / "scores_test.json")
    write_everything(estimate(scores), ORIGIN, path)
    record = json.loads(path.read_text())
    value, low, high = record["scores"]["tropics"]["z500"]["6"]["model"]["acc"]
    assert low < value < high
    assert record["scores"]["global"]["z500"]["72"]["model"]["rmse"] == [None, None, None]
    assert record["spectra"]["z500"]["6"]["truth"] == pytest.approx(scores.power[-1, 0, 2].tolist())
    assert record["wavenumbers"] == list(range(1, 17))
    assert record["interval_coverage"] == 0.9
    assert record["origin"]["run"] == ORIGIN.run

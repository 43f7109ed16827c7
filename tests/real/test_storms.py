"""NMC analyses of a winter storm over North America: a region, six files, corners and whole states missing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.real.chain import Chain, year_file
from weather.data.archive import open_split

pytestmark = pytest.mark.slow

VARIABLES = ("Pstorm.cdf:p=msl", "Tstorm.cdf:t=t2m", "Ustorm.cdf:u=u10", "Vstorm.cdf:v=v10", "U500storm.cdf:u=u500",
             "V500storm.cdf:v=v500")  # fmt: skip


def test_missing_cells_are_refused_by_place_and_converted_on_request(chain: Chain, storm_analyses: Path) -> None:
    sources = sorted(storm_analyses.glob("*.cdf"))
    words = (*sources, "storms", "--variables", *VARIABLES, "--split", "0.6,0.2,0.2", "--time_units",
             "hours since 1996-01-05")  # fmt: skip
    refusal = chain.convert(*words, status=1)
    assert "Pstorm.cdf, variable 'p', 1996-01-05T00:00:00: 224 of 1188 values are missing" in refusal
    assert "the first at latitude 53.75, longitude -140" in refusal and "--fill" in refusal
    # Three states have no value at all of one variable: there is nothing to fill them from.
    refusal = chain.convert(*words, "--fill", "nearest", "--overwrite", status=1)
    assert "1996-01-09T06:00:00: 1188 of 1188 values are missing" in refusal and "--drop_missing" in refusal
    chain.convert(*words, "--fill", "nearest", "--drop_missing", "--overwrite")

    splits = {name: year_file(chain.folder / "storms", name, 1996) for name in ("train", "valid", "test")}
    assert [len(each["fields"]) for each in splits.values()] == [35, 13, 13], "64 less three"
    assert all(np.isfinite(each["fields"]).all() for each in splits.values())
    assert splits["train"]["latitude"][[0, -1]].tolist() == [60.0, 20.0]
    opened = open_split(chain.folder / "storms", "train")
    assert opened.step_hours == 6.0
    assert opened.time is not None and np.flatnonzero(~opened.consecutive).tolist() == [16], "and two at the end"
    assert str(opened.time[17]) == "1996-01-09T12:00:00"
    dropped = json.loads((chain.folder / "storms/provenance.json").read_text())["splits"]["train"]
    assert dropped["dropped_for_missing_values"] == [f"1996-01-{when}:00:00" for when in ("09T06", "14T00", "14T06")]

    chain.train("storms", "max_steps=20", "eval_frequency=0", "predict=tendency", "patch_size=3")
    scores, _ = chain.evaluate("storms", "--leads", "6h,1d")
    assert list(scores) == ["msl", "t2m", "u10", "v10", "u500", "v500"]
    for channel in scores:
        for lead in ("6", "24"):
            assert np.isfinite(list(scores[channel][lead]["model"].values())).all()

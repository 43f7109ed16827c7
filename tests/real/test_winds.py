"""Monthly winds of eleven years: months ahead, the usual wind of the season is nearer than the wind of today."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.real.chain import Chain, year_file
from weather.data.archive import open_split

pytestmark = pytest.mark.slow

MONTH = 365.25 / 12 * 24


def test_a_climatology_beats_persistence_months_ahead_and_the_scorecard_shows_it(
    chain: Chain, monthly_winds: Path
) -> None:
    output = chain.convert(
        monthly_winds, "winds", "--variables", "UWND=u10", "VWND=v10", "--years", "1982-1989", "--valid_years", "1990",
        "--test_years", "1991-1992",
    )  # fmt: skip
    assert "1982-1989: 96 states in 8 file(s)" in output and "1991-1992: 24 states in 2 file(s)" in output
    # The source runs from south to north, and from 20 to 377.5 degrees east.
    first = year_file(chain.folder / "winds", "train", 1982)
    assert first["latitude"][[0, -1]].tolist() == [90.0, -90.0]
    assert first["longitude"][[0, -1]].tolist() == [0.0, 357.5]
    assert open_split(chain.folder / "winds", "train").consecutive.all(), "months of 28 to 31 days are no gaps"

    metrics = chain.train("winds", "coarsen=4", "max_steps=40", "eval_frequency=0", "predict=tendency")
    losses = [record["loss"] for record in metrics if record["event"] == "train"]
    assert np.isfinite(losses).all()
    leads = [f"{n * 30.4375:g}d" for n in (1, 3, 6)]
    scores, output = chain.evaluate("winds", "--leads", ",".join(leads))
    for channel in ("u10", "v10"):
        by_lead = scores[channel]
        assert [float(lead) for lead in by_lead] == [730.5, 2191.5, 4383.0]
        ratio = [s["climatology"]["rmse"] / s["persistence"]["rmse"] for s in by_lead.values()]
        # The season turns round in half a year; 0.88, 0.62 and 0.54 of persistence were measured for u10.
        assert ratio[0] < 1 and ratio[1] < 0.75 and ratio[2] < 0.65, (channel, ratio)
        assert ratio[0] > ratio[1] > ratio[2]
    assert "window of 61 days) of the 96 training states" in output, (
        "a month is within the window of every day of the year"
    )

    chain.run(
        "weather.forecast", "--run", "runs/winds", "--init", "1991-01-17T02", "--leads", leads[-1], "--out", "out.nc"
    )
    xarray = pytest.importorskip("xarray")
    with xarray.open_dataset(chain.folder / "out.nc") as forecast:
        wind = forecast["10m_u_component_of_wind"]
        assert wind.sizes["prediction_timedelta"] == 6 and wind.sizes["time"] == 1
        assert wind.time.values[0] == np.datetime64("1991-01-17T02") and np.isfinite(wind).all()

"""Ensembles: who their members are, and scores of a forecast file against scores computed from it by hand."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.forecasting.conftest import Trained
from weather.errors import ConfigError, DataError
from weather.verification.bootstrap import score_bounds
from weather.verification.metrics import area_weights

xarray = pytest.importorskip("xarray")
Command = Callable[..., bool]
INITS = "2020-01-01T12,2020-01-06T00"  # 17 and 3 states before the end of the archive
WORDS = ("--leads", "6h,1d", "--members", "3", "--perturbation", "0.5")


def test_scores_are_those_of_the_file_and_the_truth(command: Command, in_folder: Trained) -> None:
    assert command(*WORDS, "--verify", init=INITS)
    data = xarray.open_dataset("forecast.nc")
    assert data["2m_temperature"].dims == ("time", "number", "prediction_timedelta", "latitude", "longitude")
    assert data.number.values.tolist() == [0, 1, 2] and data.number.standard_name == "realization"
    written = json.loads(Path("forecast_ensemble.json").read_text())
    assert written["members"] == 3 and list(written["channels"]) == ["t2m", "z500", "z850", "t850", "phi_s4"]
    weights = area_weights(data.latitude.values)[:, None]
    truth = in_folder.archive.states("test").astype(np.float64)
    # The second forecast has truth for its first lead only.
    for lead, hours, reached in ((0, "6", {0: 3, 1: 21}), (1, "24", {0: 6})):
        members = np.stack([data["geopotential"].sel(level=850).values[i, :, lead] for i in reached]).astype(float)
        observed = np.stack([truth[state, 2] for state in reached.values()])
        scores = written["channels"]["z850"]["leads"][hours]
        assert scores["forecasts"] == len(reached)
        mean = members.mean(axis=1)
        rmse = np.sqrt((((mean - observed) ** 2) * weights).mean())
        spread = np.sqrt((members.var(axis=1, ddof=1) * weights).mean())
        pairs = np.abs(members[:, :, None] - members[:, None]).sum(axis=(1, 2))
        distance = np.abs(members - observed[:, None]).mean(axis=1)
        assert scores["rmse"] == pytest.approx(rmse, rel=1e-6)
        assert scores["spread"] == pytest.approx(spread, rel=1e-6)
        assert scores["spread_skill_ratio"] == pytest.approx(np.sqrt(4 / 3) * spread / rmse, rel=1e-6)
        assert scores["crps"] == pytest.approx(((distance - pairs / 18) * weights).mean(), rel=1e-6)
        assert scores["fair_crps"] == pytest.approx(((distance - pairs / 12) * weights).mean(), rel=1e-6)
        below = (members < observed[:, None]).sum(axis=1)
        histogram = [((below == rank) * weights).mean() for rank in range(4)]
        np.testing.assert_allclose(scores["rank_histogram"], histogram, rtol=1e-6)
        assert scores["outside"] == pytest.approx(histogram[0] + histogram[-1], rel=1e-6)
        few = "one initial time shows nothing" if len(reached) == 1 else "2 initial times show too little"
        assert few in scores["intervals"]["none"]
    rows = list(csv.DictReader(Path("forecast_ensemble.csv").read_text().splitlines()))
    (row,) = [row for row in rows if (row["channel"], row["lead_hours"]) == ("z850", "24")]
    assert float(row["fair_crps"]) == scores["fair_crps"] and row["forecasts"] == "1"
    assert Path("forecast_ensemble.png").read_bytes().startswith(b"\x89PNG")


def test_a_truth_that_is_not_finite_is_refused_by_name(command: Command, in_folder: Trained) -> None:
    """It is no forecast that blew up, and no score is made of it."""
    broken = Path(shutil.copytree(in_folder.folder / "archive", "broken"))
    with h5py.File(broken / "test" / "part_0.h5", "r+") as file:
        file["fields"][21, 1, 2, 3] = np.nan
    with pytest.raises(DataError, match=r"time index 21 .*nan in channel 'z500' at \[2, 3\]"):
        command(*WORDS, "--verify", "--data_dir", "broken", init=INITS)
    assert not Path("forecast_ensemble.json").exists()


def test_intervals_are_those_of_the_scores_of_each_initial_time(
    command: Command, in_folder: Trained, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """14 initial times, of which 12 have their truth after a day and a half; the archive ends there."""
    words = ("--leads", "6h,36h", "--members", "3", "--perturbation", "0.5", "--verify")
    monkeypatch.setenv("COLUMNS", "120")
    assert command(*words, init="2020-01-02T12/2020-01-05T18/6h")
    written = json.loads(Path("forecast_ensemble.json").read_text())
    assert written["interval_coverage"] == 0.9 and written["reliable_outside"] == 0.5
    scores = written["channels"]["z850"]["leads"]["36"]
    assert scores["forecasts"] == 12
    data = xarray.open_dataset("forecast.nc")
    members = data["geopotential"].sel(level=850).values[:12, :, 1].astype(float)
    observed = in_folder.archive.states("test")[12:24, 2].astype(float)
    weights = area_weights(data.latitude.values)[:, None]
    squares = ((members.mean(axis=1) - observed) ** 2 * weights).mean(axis=(1, 2))[:, None]
    variances = (members.var(axis=1, ddof=1) * weights).mean(axis=(1, 2))[:, None]
    said = capsys.readouterr().out
    length = int(re.findall(r"blocks of (\d+)", said)[-1])

    def ratio(variance: np.ndarray, square: np.ndarray) -> np.ndarray:
        return np.sqrt(4 / 3 * variance / square)

    low, high = score_bounds([variances, squares], ratio, length=length, replicates=1000, coverage=0.9)
    assert scores["intervals"]["spread_skill_ratio"] == pytest.approx([low[0], high[0]], rel=1e-5)
    assert low[0] < scores["spread_skill_ratio"] < high[0]
    low, high = score_bounds([squares], np.sqrt, length=length, replicates=1000, coverage=0.9)
    assert scores["intervals"]["rmse"] == pytest.approx([low[0], high[0]], rel=1e-5)
    rows = list(csv.DictReader(Path("forecast_ensemble.csv").read_text().splitlines()))
    (row,) = [row for row in rows if (row["channel"], row["lead_hours"]) == ("z850", "36")]
    assert [float(row["rmse_low"]), float(row["rmse_high"])] == scores["intervals"]["rmse"]
    assert "{:#.3g} to {:#.3g}".format(*scores["intervals"]["rmse"]) in said


def test_members_do_not_depend_on_batches_and_the_first_is_the_control(command: Command) -> None:
    command(*WORDS, "--batch_size", "1", out="one.nc", init=INITS)
    command(*WORDS, "--batch_size", "6", out="six.nc", init=INITS)
    command("--leads", "6h,1d", out="control.nc", init=INITS)
    one, six, control = (xarray.open_dataset(f"{name}.nc")["geopotential"].values for name in ("one", "six", "control"))
    np.testing.assert_allclose(one, six, rtol=1e-4, atol=1e-4)  # matrix products add up in another order
    np.testing.assert_allclose(one[:, 0], control, rtol=1e-4, atol=1e-4)
    spread = np.nanstd(one[:, 1:, 0] - control[:, None, 0], axis=(0, 1, 3, 4))
    assert (spread > 0.3).all()  # half a standard deviation of 2 and 3 went in
    command(*WORDS, "--seed", "1", out="other.nc", init=INITS)
    assert not np.allclose(xarray.open_dataset("other.nc")["geopotential"].values[:, 1], one[:, 1], equal_nan=True)


def test_checkpoints_make_an_ensemble(command: Command, in_folder: Trained) -> None:
    first = str(in_folder.folder / "checkpoints/tiny/checkpoint_step_1")
    command("--leads", "6h", "--checkpoints", first, "last", out="both.nc")
    both = xarray.open_dataset("both.nc")
    assert both.sizes["number"] == 2
    assert "number 0: run tiny, checkpoint checkpoint_step_1, step 1; number 1: run tiny" in both.attrs["source"]
    for number, wanted in enumerate((first, "last")):
        command("--leads", "6h", "--checkpoint", wanted, out=f"alone_{number}.nc")
        alone = xarray.open_dataset(f"alone_{number}.nc")["geopotential"]
        np.testing.assert_allclose(both["geopotential"].sel(number=number).values, alone.values, rtol=1e-5)
    assert not np.allclose(both["phi_s4"][0, 0].values, both["phi_s4"][0, 1].values, atol=1e-4)


def test_an_animation_has_a_frame_for_each_lead(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image = pytest.importorskip("PIL.Image")
    monkeypatch.setattr("shutil.which", lambda name: None)
    command("--leads", "12h", "--animate", "z850", "--animation", "film.mp4", init="2020-01-06T12")
    said = capsys.readouterr().out
    assert "ffmpeg is not there" in said and "animation: film.gif" in said
    with image.open("film.gif") as film:
        assert film.n_frames == 2 and film.size[0] > film.size[1]
    assert sorted(path.name for path in Path().glob("*film*")) == ["film.gif"]


def test_what_draws_is_asked_for_in_the_words_of_all_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    from weather.forecasting.animation import check_animation

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match="the figures need matplotlib; it is of the extra 'plot'"):
        check_animation(Path("film.gif"))


def test_the_model_is_told_the_times_of_its_states(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two initial times with two members each, two states each, two forecasts in a row."""
    from weather.training.restore import Forecaster

    told: list[np.ndarray] = []
    call = Forecaster.__call__

    def recorded(self: Forecaster, states: object, time: np.ndarray) -> object:
        told.append(time)
        return call(self, states, time)  # type: ignore[arg-type]

    monkeypatch.setattr(Forecaster, "__call__", recorded)
    words = ("--leads", "12h", "--members", "2", "--perturbation", "0.1")
    command(*words, init="2020-01-01T12,2020-01-04T00")
    newest = np.array(["2020-01-01T12", "2020-01-01T12", "2020-01-04T00", "2020-01-04T00"], "datetime64[s]")
    six_hours = np.timedelta64(6, "h")
    for step, times in enumerate(told):
        np.testing.assert_array_equal(times[:, 1], newest + step * six_hours)
        np.testing.assert_array_equal(times[:, 0], newest + (step - 1) * six_hours)
    assert len(told) == 2

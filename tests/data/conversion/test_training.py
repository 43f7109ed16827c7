"""A converted archive is one that a model trains on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.data.conversion.sources import field, run, times, write

ROOT = Path(__file__).resolve().parents[3]


def test_a_model_trains_on_a_converted_archive(tmp_path: Path) -> None:
    latitude, longitude = 90 - (np.arange(8) + 0.5) * 22.5, np.arange(16) * 22.5
    time = times(60)
    write(tmp_path / "a.nc", {"t2m": field(time, latitude, longitude), "msl": field(time, latitude, longitude)})
    run(tmp_path / "a.nc", tmp_path / "archive", "--split", "0.6,0.2,0.2", "--leads", "1,4")
    settings = {
        "data.data_dir": tmp_path / "archive", "experiment.name": "converted", "experiment.runs_dir": tmp_path / "runs",
        "training.checkpoint_dir": tmp_path / "checkpoints", "training.max_steps": 4, "model.embed_dim": 16,
        "model.num_layers": 1, "model.num_heads": 2, "model.patch_size": 4, "training.batch_size": 4,
    }  # fmt: skip
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    done = subprocess.run(
        [sys.executable, "-m", "weather.train", "--config_name", "local", *words],
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=200,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [json.loads(line) for line in (tmp_path / "runs/converted/metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["event"] == "train"]
    assert losses and np.isfinite(losses).all()
    assert json.loads((tmp_path / "archive/stats/statistics.json").read_text())["differences"].keys() == {"1", "4"}

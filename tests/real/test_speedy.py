"""The main path on an archive of a general circulation model (SPEEDY, 48 x 96 Gaussian grid, south to north)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SPEEDY = Path(os.environ.get("WEATHER_SPEEDY", ROOT.parent / "shared/data/speedy"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SPEEDY.is_dir(), reason=f"no SPEEDY archive at {SPEEDY}; set WEATHER_SPEEDY to its folder"),
]


def test_trains_as_it_is_and_beats_persistence_on_every_channel(tmp_path: Path) -> None:
    def run(*words: str) -> str:
        command = [sys.executable, "-m", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    settings = (f"data.data_dir={SPEEDY}", "experiment.name=speedy", "epochs=6")
    config = ("--config", str(ROOT / "configs/configs.yaml"), "--config_name", "local")
    output = run("weather.train", *config, *(word for value in settings for word in ("--set", value)))
    # 168 + 168 states in two files that follow each other: 335 samples, one of them across the seam.
    assert "grid 48x96, 8 channels, lead 6 h" in output and "335 samples" in output

    run("weather.evaluate", "--run", "runs/speedy", "--json", "scores.json", "--plot", "maps.png")
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert list(scores) == ["u_s2", "v_s2", "u_s6", "v_s6", "t_s6", "t_s3", "q_s6", "phi_s4"]
    worse = {c: s["6"] for c, s in scores.items() if s["6"]["model"]["rmse"] >= s["6"]["persistence"]["rmse"]}
    assert not worse
    assert (tmp_path / "maps.png").read_bytes().startswith(b"\x89PNG")

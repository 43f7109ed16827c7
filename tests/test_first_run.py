"""What a newcomer gives first: a run without any data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_first_run_makes_its_archive_and_trains(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "weather.train", "--config_name", "local", "--set", "max_steps=2"]
    for said in ("making one of synthetic weather", "is complete at step 2"):
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0 and said in done.stdout, done.stdout + done.stderr
    records = map(json.loads, (tmp_path / "runs/local/metrics.jsonl").read_text().splitlines())
    assert [record["step"] for record in records if record["event"] == "train"] == [1, 2]

"""Every benchmark of `weather.bench` measures, at sizes at which its rates mean nothing."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from weather import bench
from weather.benchmarks import step
from weather.errors import ConfigError
from weather.presentation.writing import json_text

ROOT = Path(__file__).resolve().parents[1]
MODEL = "--set model.img_size=[16,32] --set model.input_channels=2 --set model.output_channels=2 \
--set model.patch_size=4 --set model.embed_dim=16 --set model.num_layers=1 --set model.num_heads=2 \
--config_name local --device cpu"


def measure(words: str) -> dict[str, Any]:
    """What the command prints."""
    options = bench.parser().parse_args(words.split())
    files = {"loader": bench.measure_loader_of, "convert": bench.measure_conversion_of}
    result: dict[str, Any] = json.loads(json_text(files.get(options.kind, bench.measure_model_of)(options)))
    return result


@pytest.mark.parametrize(
    ("words", "key", "contestants"),
    [
        (f"step {MODEL} --rounds 1", "tflops", {"step", "forward", "attention", "best product"}),
        (f"checkpoint {MODEL} --rounds 1 --folder FOLDER", "megabytes_per_second", {"save", "dd"}),
        (
            f"evaluate {MODEL} --rounds 1 --batches 1 --steps 2 1 --folder FOLDER",
            "forecasts_per_second",
            {"step_forward", "forecaster", "rollout", "evaluation", "reading", "scoring"},
        ),
        (
            "loader --layout chunked --states 12 --channels 2 --height 8 --width 16 --rounds 1 --folder FOLDER",
            "gigabytes_per_second",
            {"loader", "plain read", "memcpy"},
        ),
        (
            "convert --states 16 --levels 2 --height 8 --width 16 --rounds 1 --folder FOLDER",
            "gigabytes_per_second",
            {"conversion", "copy"},
        ),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) else "",
)
def test_each_contestant_has_a_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, key: str, contestants: set[str]
) -> None:
    monkeypatch.setattr(step, "PRODUCT_SIZES", (64, 128))
    result = measure(words.replace("FOLDER", str(tmp_path)))
    assert result[key].keys() == contestants
    assert all(math.isfinite(rate) and rate > 0 for rate in result[key].values())
    assert list(tmp_path.iterdir()) == [], "what it wrote is gone"


@pytest.mark.slow
def test_strategies_are_measured_on_ranks_of_their_own() -> None:
    words = f"strategy {MODEL} --strategies ddp --ranks 2 --rounds 1 --steps 1".split()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "weather.bench", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["strategies"].keys() == {"ddp"}


@pytest.mark.parametrize("words", ["step --rounds 0", "loader --states -3", "convert --workers two"])
def test_a_count_is_one_or_more(words: str) -> None:
    with pytest.raises(ConfigError, match="on the command line; a whole number, 1 or more"):
        bench.parser().parse_args(words.split())

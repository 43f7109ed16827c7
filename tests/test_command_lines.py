"""The command lines teach, and the benchmarks run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]


def run(*words: str, status: int = 0) -> str:
    done = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "door",
    [
        "train",
        "evaluate",
        "forecast",
        "synthesize",
        "statistics",
        "convert",
        "bench convert",
        "checkpoint list",
        "checkpoint export",
        "bench step",
        "bench loader",
        "bench evaluate",
        "doctor",
        "budget time_to_epochs",
        "budget slurm_settings",
    ],
)
def test_help_teaches(door: str) -> None:
    output = run(*f"weather.{door}".split(), "--help")
    assert f"python -m weather.{door}" in output and "default" in output


def test_configs_are_listed_with_their_purpose() -> None:
    lines = run("weather.train", "--list-configs").splitlines()
    assert {line.split()[0] for line in lines} >= {"base", "local", "small", "medium", "large", "bs128", "seq16"}
    assert all(len(line.split()) > 3 for line in lines)


def test_config_is_printed_as_it_would_be_used() -> None:
    output = run("weather.train", "--config_name", "local", "--set", "epochs=3", "--flops_budget", "1e20",
                 "--time_budget", "4.5", "--precision", "bf16-mixed", "--print-config")  # fmt: skip
    training = yaml.safe_load(output)["training"]
    assert training["epochs"] == 3 and training["flops_budget"] == 1e20
    assert training["time_budget_hours"] == 4.5 and training["precision"] == "bf16"


def test_a_mistake_is_one_line() -> None:
    output = run("weather.train", "--config_name", "lokal", status=1)
    assert output.count("\n") == 1
    assert "no config named 'lokal'" in output and output.endswith("did you mean 'local'?\n")


def test_a_study_without_scipy_says_how_to_get_it() -> None:
    door = "import runpy, sys; sys.modules['scipy'] = None; runpy.run_module('weather.scaling', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", door, "fit", "runs.csv"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and not done.stdout
    assert "scipy" in done.stderr and "pip install -e '.[study]'" in done.stderr


def test_no_archive_says_how_to_get_one(tmp_path: Path) -> None:
    settings = ("--set", f"data.data_dir={tmp_path / 'none'}", "--set", f"runs_dir={tmp_path}")
    output = run("weather.train", "--config_name", "local", *settings, status=1)
    assert output.startswith("DataError") and "python -m weather.synthesize" in output


def test_step_benchmark_gives_shares() -> None:
    small = ("img_size=[16,32]", "embed_dim=32", "num_layers=1", "num_heads=2", "patch_size=4")
    overrides = [word for value in small for word in ("--set", value)]
    result = json.loads(run("weather.bench", "step", "--rounds", "1", *overrides))
    assert set(result["share_of_best_product"]) == {"step", "forward", "attention"}
    assert all(0 < share < 1.5 for share in result["share_of_best_product"].values())


@pytest.mark.parametrize("layout", ["contiguous", "chunked", "gzip"])
def test_loader_benchmark_gives_shares(layout: str) -> None:
    size = ("--states", "20", "--channels", "2", "--height", "16", "--width", "32", "--rounds", "1")
    result = json.loads(run("weather.bench", "loader", "--layout", layout, *size))
    assert result["loader_share_of_memcpy"] > 0 and result["loader_share_of_plain_read"] > 0


def test_evaluation_benchmark_gives_shares() -> None:
    small = ("img_size=[16,32]", "input_channels=2", "output_channels=1", "embed_dim=32", "num_layers=1", "num_heads=2")
    overrides = [word for value in small for word in ("--set", value)]
    turn = ("--rounds", "1", "--batches", "2", "--batch", "3", "--steps", "1")
    result = json.loads(run("weather.bench", "evaluate", *turn, *overrides))
    assert result["initial_times"] == 6 and result["scored_steps"] == [1]
    shares = result["share_of_step_forward"]
    assert list(shares) == ["step_forward", "forecaster", "rollout", "evaluation", "reading", "scoring"]
    assert shares["step_forward"] == 1 and min(shares.values()) > 0


def test_evaluation_benchmark_refuses_rollouts_that_no_model_can_make() -> None:
    overrides = ("--set", "img_size=[16,32]", "--set", "input_channels=2", "--set", "output_channels=1")
    output = run("weather.bench", "evaluate", *overrides, "--steps", "1", "4", status=1)
    assert output.startswith("ConfigError") and "Traceback" not in output

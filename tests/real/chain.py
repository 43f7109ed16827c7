"""The chain that a user walks with data of his own, each step by its own command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
TINY = ("embed_dim=32", "num_layers=2", "num_heads=2", "patch_size=4", "warmup_steps=5", "save_frequency=0")


class Chain:
    """Commands in one folder.

    Args:
        folder: where archives and runs are made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *words: object, status: int = 0) -> str:
        """Output of ``python -m`` with these words; its messages too where another status than 0 is expected."""
        command = [sys.executable, "-m", *map(str, words)]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=280)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr if status else done.stdout

    def convert(self, *words: object, status: int = 0) -> str:
        return self.run("weather.convert", *words, status=status)

    def train(self, name: str, *settings: str) -> list[dict[str, Any]]:
        """Train a tiny model on the archive `name` of this folder; gives the run's metrics."""
        config = ("--config", ROOT / "configs/configs.yaml", "--config_name", "local")
        every = (f"data.data_dir={name}", f"experiment.name={name}", *TINY, *settings)
        self.run("weather.train", *config, *(word for setting in every for word in ("--set", setting)))
        lines = (self.folder / "runs" / name / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def evaluate(self, name: str, *words: object) -> tuple[dict[str, Any], str]:
        """Scores {channel: {lead in hours: {source: {rmse, ...}}}} of the run, and the output."""
        scores = self.folder / f"{name}.json"
        output = self.run("weather.evaluate", "--run", f"runs/{name}", "--json", scores, "--no-plot", *words)
        return json.loads(scores.read_text()), output


def year_file(archive: Path, split: str, year: int) -> dict[str, np.ndarray]:
    """Everything in a year file."""
    with h5py.File(archive / split / f"{year}.h5") as file:
        return {name: dataset[()] for name, dataset in file.items()}

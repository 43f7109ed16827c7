"""A run of a tiny model on a tiny archive, trained once, and the forecast command in this process."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.archives import WrittenArchive, write_archive
from weather.config.files import load_config
from weather.forecast import parser
from weather.forecasting.command import forecast
from weather.training.trainer import WeatherTrainer

CHANNELS = ("t2m", "z500", "z850", "t850", "phi_s4")
CONFIG = """
tiny:
  model: {embed_dim: 16, num_layers: 1, num_heads: 2, patch_size: 4, predict: tendency, sequence_length: 2}
  training: {batch_size: 4, max_steps: 3, warmup_steps: 1, learning_rate: 3.0e-3, save_every_steps: 1,
             max_checkpoints: 0}
"""
FIRST = "2020-01-01T12"  # of the test split, whose 24 states begin twelve hours earlier


@dataclass(frozen=True)
class Trained:
    """A folder with `archive/` and `runs/tiny`."""

    folder: Path
    archive: WrittenArchive

    def options(self, *words: str, out: str = "forecast.nc", init: str = FIRST) -> list[str]:
        """Words of a forecast command."""
        return ["--run", "runs/tiny", "--device", "cpu", "--out", out, "--init", init, *words]


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("forecasting")
    files = {"train": (10,), "valid": (6,), "test": (24,)}
    archive = write_archive(folder / "archive", files=files, channels=CHANNELS, grid=(8, 16))
    (folder / "configs.yaml").write_text(CONFIG)
    with working_in(folder):
        settings = ["experiment.name=tiny", "data.data_dir=archive"]
        WeatherTrainer(load_config("configs.yaml", "tiny", settings), device="cpu").train()
    return Trained(folder, archive)


@pytest.fixture
def in_folder(trained: Trained, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Trained]:
    """In a folder of its own that has the run and the archive."""
    for name in ("archive", "runs", "checkpoints"):
        (tmp_path / name).symlink_to(trained.folder / name)
    monkeypatch.chdir(tmp_path)
    yield trained


@pytest.fixture
def command(in_folder: Trained) -> Callable[..., bool]:
    """The forecast command in this process; whether all forecasts are finite."""

    def run(*words: str, out: str = "forecast.nc", init: str = FIRST) -> bool:
        return forecast(parser().parse_args(in_folder.options(*words, out=out, init=init)))

    return run

"""Runs with extra inputs: trained, resumed and evaluated with what they were trained with."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.archives import WrittenArchive
from weather.config.wrapper import ConfigWrapper
from weather.data.archive import open_archive
from weather.data.static_fields import FILE, write_static_fields
from weather.data.static_inputs import STATIC_INPUTS
from weather.data.year_file import default_latitude, default_longitude
from weather.errors import CheckpointError, ConfigError, DataError
from weather.model.transformer import WeatherTransformer
from weather.training.evaluation import Evaluation, evaluate
from weather.training.forecast_step import ForecastStep
from weather.training.preparation import changed_identity, changed_samples, prepare, resolve_model
from weather.training.rollout import roll_out
from weather.training.trainer import WeatherTrainer

GRID = (8, 16)
NAMES = ["longitude", "orography", "time_of_day"]
#: Hours between states that are 7 and 8 in turn, as in some samples of ERA5.
IRREGULAR = np.cumsum([7.0, 8.0, 8.0] * 4)


def write_orography(folder: Path, *, seed: int = 0) -> None:
    orography = np.random.default_rng(seed).normal(size=(1, *GRID))
    write_static_fields(folder, ["orography"], ["m"], orography, default_latitude(8), default_longitude(16))


@pytest.fixture
def archive(make_archive: Callable[..., WrittenArchive]) -> WrittenArchive:
    times = {"train": (IRREGULAR,), "valid": (IRREGULAR + 90_000,), "test": (IRREGULAR + 180_000,)}
    written = make_archive(grid=GRID, files=dict.fromkeys(times, (12,)), times=times, channels=("t2m", "u10"))
    write_orography(written.folder)
    return written


def config(archive: WrittenArchive, **changes: Any) -> ConfigWrapper:
    folder = archive.folder.parent
    return ConfigWrapper(
        {
            "experiment": {"name": "one", "runs_dir": str(folder / "runs")},
            "model": {"embed_dim": 16, "num_layers": 1, "num_heads": 2, "patch_size": 4},
            "data": {"data_dir": str(archive.folder), "extra_inputs": NAMES},
            "training": {"max_steps": 2, "epochs": 9, "warmup_steps": 1, "checkpoint_dir": str(folder / "checkpoints")},
        }
    ).replace(changes)


def evaluated(archive: WrittenArchive, **changes: Any) -> Evaluation:
    settings: dict[str, Any] = {"checkpoint": "last", "split": "test", "data_dir": None, "device": "cpu"}
    settings |= {"precision": None, "batch_size": 4, "leads": None} | changes
    return evaluate(archive.folder.parent / "runs" / "one", **settings)


def test_a_run_is_resumed_and_evaluated_with_its_own_inputs(archive: WrittenArchive, tmp_path: Path) -> None:
    WeatherTrainer(config(archive), device="cpu").train()
    assert WeatherTrainer(config(archive, max_steps=3), device="cpu").train().reason == "max_steps"
    with pytest.raises(CheckpointError, match=r"data.extra_inputs was \['longitude', .*\] and is now \['longitude'\]"):
        WeatherTrainer(config(archive, max_steps=4, extra_inputs=["longitude"]), device="cpu").train()
    evaluation = evaluated(archive, leads=[8, 24])
    assert evaluation.model.forecaster.model.embedding.weight.shape == (16, (2 + 5) * 4**2)
    assert np.isfinite(evaluation.scores.rmse()).all()
    other = tmp_path / "other"
    shutil.copytree(archive.folder, other)
    assert evaluated(archive, data_dir=str(other)).scores.samples == 11
    write_orography(other, seed=1)
    with pytest.raises(DataError, match=r"other.*static.h5: its static fields are not .* trained with: orography"):
        evaluated(archive, data_dir=str(other))
    (other / FILE).unlink()
    with pytest.raises(ConfigError, match="unknown input 'orography'"):
        evaluated(archive, data_dir=str(other))
    write_orography(archive.folder, seed=1)
    with pytest.raises(CheckpointError, match="static fields' digests was"):
        WeatherTrainer(config(archive, max_steps=4), device="cpu").train()


def test_weights_that_know_other_inputs_are_no_initial_weights(archive: WrittenArchive) -> None:
    """Even where there are as many."""
    WeatherTrainer(config(archive, extra_inputs=["sin_latitude"], max_steps=1), device="cpu").train()
    weights = str(archive.folder.parent / "checkpoints/one/checkpoint_step_1")
    tuned = config(archive, extra_inputs=["cos_latitude"], initial_weights=weights, name="tuned")
    with pytest.raises(
        CheckpointError, match=r"data.extra_inputs was \['sin_latitude'\] and is now \['cos_latitude'\]"
    ):
        WeatherTrainer(tuned, device="cpu").train()


def test_forecasts_depend_on_the_time_and_pass_gradients_to_the_states(archive: WrittenArchive) -> None:
    found = config(archive)
    opened = open_archive(found.data)
    resolved = resolve_model(found, opened)
    torch.manual_seed(0)
    model = WeatherTransformer(resolved.model)
    step = ForecastStep(resolved, opened, torch.device("cpu"))
    states = torch.zeros(1, 1, 2, *GRID, requires_grad=True)
    first, second = (
        step(model, states, np.array([[when]], "datetime64[s]")) for when in ("2020-01-01T00", "2020-01-01T12")
    )
    assert not torch.allclose(first, second)
    second.sum().backward()
    assert states.grad is not None and states.grad.abs().sum() > 0


class Witness(ForecastStep):
    """Remembers the times that it is given."""

    def __call__(self, module: Any, states: torch.Tensor, time: np.ndarray | None, **more: Any) -> torch.Tensor:
        assert time is not None
        self.seen = [*getattr(self, "seen", []), time]
        return super().__call__(module, states, time, **more)


def test_training_gives_the_true_times_to_forecasts_in_a_row(archive: WrittenArchive) -> None:
    """Of an irregular archive; leads of 1 and 2 steps in one batch."""
    run = prepare(config(archive, random_leads=[1, 2]))
    step = Witness(run.config, run.archive, torch.device("cpu"))
    leads, true = np.array([1, 2]), run.training.split.time
    time = run.training.times(np.array([2, 3]), forecasts=3, leads=leads)
    fields = torch.zeros(2, 4, 2, *GRID)
    list(roll_out(step, WeatherTransformer(run.config.model), fields, time, torch.ones(2, 8, 1), leads=leads))
    assert true is not None
    np.testing.assert_array_equal(np.concatenate(step.seen, axis=1), [true[[2, 3, 4]], true[[3, 5, 7]]])


def test_a_checkpoint_from_before_the_keys_has_their_defaults(archive: WrittenArchive) -> None:
    now = prepare(config(archive, extra_inputs=[])).config
    old = now.to_dict()
    del old["model"]["extra_channels"], old["data"]["extra_inputs"]
    assert changed_identity(old, now) == {}
    assert set(changed_identity(old, now.replace({"extra_inputs": ["longitude"]}))) == {"data.extra_inputs"}
    run = prepare(now)
    samples = {name: value for name, value in run.identity().items() if name != STATIC_INPUTS}
    assert changed_samples(samples, run) == {}
    assert changed_samples(samples, prepare(config(archive))) != {}

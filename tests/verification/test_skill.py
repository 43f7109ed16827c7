"""Scores of forecasts whose errors are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.archives import write_archive
from tests.verification.named import named
from weather.data.archive import open_archive
from weather.data.loader import Samples
from weather.runtime.ranks import Ranks
from weather.verification.climatology import fit_climatology
from weather.verification.leads import ModelStep
from weather.verification.metrics import area_weights
from weather.verification.rollout import Forecast
from weather.verification.scores import Scores
from weather.verification.skill import verify


def score(tmp_path: Path, forecast: Forecast, *, dt: int = 1, batch_size: int = 2, output_channels: int = 2) -> Scores:
    written = write_archive(tmp_path, files={"train": (9,), "test": (7,)}, channels=("a", "b"))
    archive = open_archive(written.section(), ("train", "test"))
    samples = Samples(archive.splits["test"], archive.splits["test"].starts(2, dt), 2, dt)
    return verify(
        [named(forecast, archive, ModelStep(6.0, dt, 2, 2, output_channels))],
        archive,
        samples,
        fit_climatology(archive),
        device=torch.device("cpu"),
        ranks=Ranks(),
        batch_size=batch_size,
        threads=1,
        output_channels=output_channels,
    )


def test_a_model_that_repeats_the_last_state_is_persistence(tmp_path: Path) -> None:
    scores = score(tmp_path, lambda states, _: states[:, -1]).as_dict()
    for by_lead in scores.values():
        assert list(by_lead) == ["6"]
        # Normalising and restoring rounds at 1e-7 of the values.
        assert by_lead["6"]["model"] == pytest.approx(by_lead["6"]["persistence"], rel=1e-4, abs=1e-5)


def test_scores_against_numpy(tmp_path: Path) -> None:
    """Two steps ahead, in physical units, root outside the mean over time."""
    scores = score(tmp_path, lambda states, _: torch.zeros_like(states[:, -1]), dt=2, batch_size=3)
    written = write_archive(tmp_path / "again", files={"train": (9,), "test": (7,)}, channels=("a", "b"))
    states = written.states("test").astype(np.float64)
    truth, last = states[3:], states[1:-2]
    weights = area_weights(np.array([67.5, 22.5, -22.5, -67.5]))[:, None]
    mean = written.states("train").mean(axis=(0, 2, 3), dtype=np.float64)[:, None, None]
    for source, forecast in (("persistence", last), ("model", np.broadcast_to(mean, truth.shape))):
        error = forecast - truth
        mean_square = (error**2 * weights).mean(axis=(0, 2, 3))
        np.testing.assert_allclose(scores.rmse(source)[0, 0], np.sqrt(mean_square), rtol=1e-5)
        np.testing.assert_allclose(scores.mae(source)[0, 0], (np.abs(error) * weights).mean(axis=(0, 2, 3)), rtol=1e-5)
        np.testing.assert_allclose(scores.bias(source)[0, 0], (error * weights).mean(axis=(0, 2, 3)), atol=1e-5)
    assert scores.lead_hours == (12.0,)
    assert scores.samples == 4


def test_climatology_has_no_anomaly_correlation(tmp_path: Path) -> None:
    scores = score(tmp_path, lambda states, _: states[:, -1]).as_dict()
    assert scores["a"]["6"]["climatology"]["acc"] == 0.0


def test_fewer_output_channels_are_scored(tmp_path: Path) -> None:
    assert list(score(tmp_path, lambda states, _: states[:, -1, :1], output_channels=1).as_dict()) == ["a"]

"""Scores of weather whose scores theory gives: red noise, whose best forecast damps the anomaly, and what must add up.

In red noise x(t + 1) = a x(t) + noise with variance 1, persistence has a squared error of 2 (1 - a^k) after k steps
and a correlation of a^k. The damped forecast a^k x has a squared error of 1 - a^(2 k), the same correlation, and an
activity of a^k.
"""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch

from tests.archives import write_archive
from tests.verification.named import named
from weather.data.archive import open_archive
from weather.runtime.ranks import Ranks
from weather.verification.climatology import fit_climatology
from weather.verification.leads import ModelStep, initial_samples
from weather.verification.metrics import area_weights
from weather.verification.scores import CLIMATOLOGY, MODEL, PERSISTENCE, Scores
from weather.verification.skill import verify

MEMORY = 0.8  # a
STEPS = (1, 3, 8, 16)
GRID = (24, 48)
MEAN = 250.0
STATES = {"train": 1000, "test": 100}  # too few days for a season
#: Nine states are as good as one that remembers nothing: ten of those at 1,152 points leave 1.3 % of doubt in a
#: variance, and the 110 in training leave 1 % of it in the climatology.
TOLERANCE = 0.04


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Scores:
    """Of the damped forecast and the baselines."""
    folder = tmp_path_factory.mktemp("theory")
    written = write_archive(
        folder, files={name: (count,) for name, count in STATES.items()}, channels=("t",), grid=GRID
    )
    generator = np.random.default_rng(0)
    for split, count in STATES.items():
        state, states = generator.standard_normal(GRID), []
        for _ in range(count):
            states.append(state)
            state = MEMORY * state + np.sqrt(1 - MEMORY**2) * generator.standard_normal(GRID)
        with h5py.File(written.path(split), "r+") as file:
            file["fields"][:, 0] = MEAN + np.stack(states)
    archive = open_archive(written.section(), ("train", "test"))
    climatology = fit_climatology(archive)
    day = np.datetime64("2020-01-01", "s") + 6 * np.arange(4).astype("timedelta64[h]")
    usual = torch.from_numpy(climatology.at(day, 4).mean(axis=0))
    centre = (usual - archive.statistics.means[0]) / archive.statistics.stds[0]
    step = ModelStep(6.0, 1, 1, 1, 1)
    return verify(
        [named(lambda states, _: centre + MEMORY * (states[:, -1] - centre), archive, step)],
        archive,
        initial_samples(archive.splits["test"], step, STEPS[-1]),
        climatology,
        steps=STEPS,
        device=torch.device("cpu"),
        ranks=Ranks(),
        batch_size=8,
        threads=1,
        output_channels=1,
    )


def test_red_noise_has_the_scores_of_theory(scores: Scores) -> None:
    memory = MEMORY ** np.array(STEPS)
    square = {name: scores.rmse(name)[0, :, 0] ** 2 for name in scores.sources}
    np.testing.assert_allclose(square[PERSISTENCE], 2 * (1 - memory), rtol=TOLERANCE)
    np.testing.assert_allclose(square[MODEL], 1 - memory**2, rtol=TOLERANCE)
    np.testing.assert_allclose(square[CLIMATOLOGY], 1, rtol=TOLERANCE)
    assert (np.diff(square[PERSISTENCE]) > 0).all() and (square[MODEL] < square[PERSISTENCE]).all()
    assert square[PERSISTENCE][-1] > 1.5 * square[CLIMATOLOGY][-1], "what has no memory left errs twice as much"
    for name in (MODEL, PERSISTENCE):
        np.testing.assert_allclose(scores.acc(name)[0, :, 0], memory, atol=TOLERANCE)
    assert not scores.acc(CLIMATOLOGY).any() and not scores.activity_of(CLIMATOLOGY).any()
    np.testing.assert_allclose(scores.activity_of(None)[0], 1, rtol=TOLERANCE)
    np.testing.assert_allclose(scores.activity_of(PERSISTENCE)[0], 1, rtol=TOLERANCE)
    np.testing.assert_allclose(scores.activity_of(MODEL)[0, :, 0] ** 2, memory**2, atol=TOLERANCE)
    # The mean absolute value of a Gaussian is sqrt(2 / pi) standard deviations.
    np.testing.assert_allclose(scores.mae()[0], np.sqrt(2 / np.pi) * scores.rmse()[0], rtol=TOLERANCE)
    np.testing.assert_allclose(scores.skill(CLIMATOLOGY)[0, :, 0], 1 - np.sqrt(1 - memory**2), atol=TOLERANCE)


def test_spectra_hold_the_variance_along_latitudes(scores: Scores) -> None:
    """White in longitude: the same at all wavenumbers, but for the last, which has no twin; the model's is damped."""
    truth, model = scores.power[-1, :, 0], scores.power[0, :, 0]
    shares = np.append(np.full(GRID[1] // 2 - 1, 2.0), 1.0) / GRID[1]
    np.testing.assert_allclose(truth.sum(axis=1), 1 - 1 / GRID[1], atol=TOLERANCE)
    np.testing.assert_allclose(truth.mean(axis=0), shares, rtol=0.25)  # few independent values of each
    np.testing.assert_allclose(model.sum(axis=1), MEMORY ** (2 * np.array(STEPS)), atol=TOLERANCE)


def test_scores_of_one_forecast_add_up(scores: Scores) -> None:
    """<(f - o)^2> = <f^2> + <o^2> - 2 r sqrt(<f^2> <o^2>) of anomalies, whose means the bias of climatology tells."""
    usual = scores.sources.index(CLIMATOLOGY)
    observed = scores.squared_error[usual]
    # Sums are float64, of float32 squares.
    np.testing.assert_allclose(scores.true_activity**2 + scores.error[usual] ** 2, observed, rtol=1e-6)
    for source in range(len(scores.sources)):
        forecast = scores.activity[source] ** 2 + (scores.error[source] - scores.error[usual]) ** 2
        covariance = scores.correlation[source] * np.sqrt(forecast * observed)
        np.testing.assert_allclose(scores.squared_error[source], forecast + observed - 2 * covariance, rtol=1e-4)
        assert (scores.absolute_error[source] ** 2 <= scores.squared_error[source]).all()
        assert (np.abs(scores.error[source]) <= scores.absolute_error[source]).all()
        assert (np.abs(scores.correlation[source]) <= 1).all()


def test_regions_add_up_to_the_globe(scores: Scores) -> None:
    """No row lies on 20 degrees, so that each is in one region."""
    latitude = 90 - (np.arange(GRID[0]) + 0.5) * 180 / GRID[0]
    weights = area_weights(latitude) / GRID[0]
    tropics = weights[np.abs(latitude) < 20].sum()
    whole, inner, outer, north, south = (scores.mae(MODEL)[scores.regions.index(name)] for name in scores.regions)
    np.testing.assert_allclose(tropics * inner + (1 - tropics) * outer, whole, rtol=1e-12)
    np.testing.assert_allclose((north + south) / 2, outer, rtol=1e-12)

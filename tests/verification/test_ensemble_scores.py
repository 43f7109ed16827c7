"""Scores of ensembles against other people's code and against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from weather.verification.ensemble_scores import score_ensemble


def field(*values: float) -> torch.Tensor:
    """One channel on a grid of one row."""
    return torch.tensor(values).reshape(1, 1, -1)


def test_two_members_by_hand() -> None:
    """Members 1 and 3 and truth 2: E|X - y| = 1, mean of |Xi - Xj| over 4 pairs 1, over the 2 of two members 2."""
    scores = score_ensemble(torch.stack([field(1.0, 1.0), field(3.0, 3.0)]), field(2.0, 5.0))
    assert scores.crps.flatten().tolist() == [0.5, 2.5]
    assert scores.fair_crps.flatten().tolist() == [0.0, 2.0]
    assert scores.squared_error.flatten().tolist() == [0.0, 9.0]
    assert scores.variance.flatten().tolist() == [2.0, 2.0]
    assert scores.ranks[:, 0, 0].T.tolist() == [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]


def test_a_truth_equal_to_members_is_shared_by_their_ranks() -> None:
    scores = score_ensemble(torch.stack([field(0.0), field(0.0), field(4.0)]), field(0.0))
    assert scores.ranks.flatten().tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0.0])


def test_a_member_that_blew_up_leaves_no_score_at_its_point() -> None:
    members = torch.stack([field(1.0, 1.0), field(np.inf, 2.0)])
    scores = score_ensemble(members, field(0.0, 0.0))
    for values in (scores.crps, scores.fair_crps, scores.squared_error, scores.variance):
        assert torch.isfinite(values).flatten().tolist() == [False, True]
        assert torch.isnan(values[0, 0, 0])
    assert scores.ranks.sum(dim=0).flatten().tolist() == [0.0, 1.0]


@pytest.mark.parametrize("count", [2, 5])
def test_crps_is_that_of_the_package_scores(count: int) -> None:
    xarray, probability = pytest.importorskip("xarray"), pytest.importorskip("scores.probability")
    generator = np.random.default_rng(count)
    members, truth = generator.normal(size=(count, 2, 3, 4)), generator.normal(size=(2, 3, 4))
    members[0, 0, 0, 0] = truth[0, 0, 0]  # equal values are nothing special
    scores = score_ensemble(torch.from_numpy(members), torch.from_numpy(truth))
    forecast = xarray.DataArray(members, dims=("member", "channel", "lat", "lon"))
    observed = xarray.DataArray(truth, dims=("channel", "lat", "lon"))
    for method, ours in (("ecdf", scores.crps), ("fair", scores.fair_crps)):
        theirs = probability.crps_for_ensemble(forecast, observed, "member", method=method, preserve_dims="all")
        np.testing.assert_allclose(ours.numpy(), theirs.values, rtol=1e-6)


def test_scores_are_those_of_xskillscore() -> None:
    xarray, xskillscore = pytest.importorskip("xarray"), pytest.importorskip("xskillscore")
    generator = np.random.default_rng(1)
    members, truth = generator.normal(size=(6, 1, 8, 8)), generator.normal(size=(1, 8, 8))
    scores = score_ensemble(torch.from_numpy(members), torch.from_numpy(truth))
    forecast = xarray.DataArray(members[:, 0], dims=("member", "lat", "lon"))
    observed = xarray.DataArray(truth[0], dims=("lat", "lon"))
    crps = xskillscore.crps_ensemble(observed, forecast, dim=[])
    np.testing.assert_allclose(scores.crps[0].numpy(), crps.values, rtol=1e-6)
    histogram = xskillscore.rank_histogram(observed, forecast, dim=["lat", "lon"])
    np.testing.assert_allclose(scores.ranks.sum(dim=(1, 2, 3)).numpy(), histogram.values)


@pytest.mark.parametrize("count", [2, 8])
def test_a_reliable_ensemble_has_the_scores_of_theory(count: int) -> None:
    """Truth and members from one Gaussian: fair CRPS 1 / sqrt(pi) whatever their number, ratio 1, flat histogram."""
    drawn = torch.randn(count + 1, 1, 300, 400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    scores = score_ensemble(drawn[1:], drawn[0])
    fair, variance, error = (float(x.mean()) for x in (scores.fair_crps, scores.variance, scores.squared_error))
    # 120,000 points leave a doubt of some 0.3 % in each.
    assert fair == pytest.approx(np.pi**-0.5, rel=0.02)
    assert float(scores.crps.mean()) == pytest.approx((1 + 1 / count) * np.pi**-0.5, rel=0.02)
    assert np.sqrt((count + 1) / count * variance / error) == pytest.approx(1.0, rel=0.02)
    np.testing.assert_allclose(scores.ranks.mean(dim=(1, 2, 3)).numpy(), 1 / (count + 1), rtol=0.03)

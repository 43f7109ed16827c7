"""What scores over initial times say, from values of single ones that are known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from weather.errors import ConfigError
from weather.verification.scores import Scores, parse_baselines

TIMES, LEADS, CHANNELS = 40, 2, 3


def made(model_error: float = 1.0, *, times: int = TIMES, seed: int = 0, **more: object) -> Scores:
    """Squared errors around `model_error` squared, and of persistence around 4, both high on the same days."""
    generator = np.random.default_rng(seed)
    day = generator.gamma(20, 1 / 20, size=(1, times, 1, 1))
    noise = generator.gamma(50, 1 / 50, size=(2, 2, times, LEADS, CHANNELS))
    squared = np.array([model_error**2, 4.0])[:, None, None, None, None] * noise * day
    ones = np.ones_like(squared)
    return Scores(
        channels=("z500", "t2m", "u10"),
        units=("m", "K", "m/s"),
        lead_hours=(6.0, 24.0),
        sources=("model", "persistence"),
        regions=("global", "tropics"),
        initial_times=np.datetime64("2020-01-01", "s") + np.arange(times) * np.timedelta64(6, "h"),
        squared_error=squared,
        absolute_error=np.sqrt(squared),
        error=0.5 * ones,
        correlation=0.8 * ones,
        activity=generator.uniform(1, 2, size=squared.shape),
        true_activity=2.0 * ones[0],
        wavenumbers=np.array([1, 2]),
        power=generator.uniform(size=(3, LEADS, CHANNELS, 2)),
        blown_up=np.array([[0, 1], [0, 0]]),
        climatology="mean",
        **more,  # type: ignore[arg-type]
    )


def test_the_root_is_taken_after_the_mean_over_initial_times() -> None:
    scores = made()
    np.testing.assert_allclose(scores.rmse("persistence"), np.sqrt(scores.squared_error[1].mean(axis=1)), rtol=1e-12)
    assert np.abs(scores.rmse() / np.sqrt(scores.squared_error[0]).mean(axis=1) - 1).min() > 1e-3
    np.testing.assert_allclose(scores.mae(), scores.absolute_error[0].mean(axis=1))
    np.testing.assert_allclose(scores.activity_of(), np.sqrt((scores.activity[0] ** 2).mean(axis=1)))
    assert np.allclose(scores.activity_of(None), 2.0) and np.allclose(scores.bias(), 0.5)
    assert np.allclose(scores.acc("persistence"), 0.8)
    np.testing.assert_allclose(scores.skill("persistence"), 1 - scores.rmse() / scores.rmse("persistence"))
    assert scores.rmse().shape == (2, LEADS, CHANNELS)


def test_pairs_are_told_apart_where_lone_intervals_overlap() -> None:
    """Days that are hard for both make each interval wide, but not that of their difference."""
    scores = made(1.9)
    ours, theirs = scores.interval("rmse"), scores.interval("rmse", "persistence")
    difference = scores.difference("rmse", "persistence")
    assert (ours.low < ours.estimate).all() and (ours.estimate < ours.high).all()
    assert (ours.high > theirs.low).all(), "they overlap"
    assert (difference.high < 0).all(), "and yet the model beats persistence"
    np.testing.assert_allclose(difference.estimate, scores.rmse() - scores.rmse("persistence"))
    assert (made(2.0).difference("rmse", "persistence").high > 0).any(), "where it does not, that is said"
    again = made(1.9).difference("rmse", "persistence")
    np.testing.assert_array_equal(again.low, difference.low)


def test_a_difference_that_lasts_makes_its_interval_wide() -> None:
    """The model's own errors have no memory; that of the difference counts, which is gone where days are shuffled."""
    scores, days = made(times=200), np.arange(200)
    lasting = 4 + 0.5 * np.sin(days / 8)[None, :, None, None]
    scores.squared_error[1] = scores.squared_error[0] + lasting
    order = np.random.default_rng(1).permutation(200)
    shuffled = dataclasses.replace(scores, squared_error=scores.squared_error[:, :, order])
    assert max(scores.blocks) <= 4
    intervals = (each.difference("rmse", "persistence") for each in (scores, shuffled))
    widths = [each.high - each.low for each in intervals]
    assert (widths[0] > 2 * widths[1]).all()


def test_an_interval_is_that_of_its_definition() -> None:
    """A mean of 40 values that do not depend on one another: 1.645 standard errors to either side."""
    scores = made()
    scores = dataclasses.replace(scores, error=np.random.default_rng(3).standard_normal(scores.error.shape))
    interval = scores.interval("bias")
    error = scores.error[0].std(axis=1, ddof=1) / np.sqrt(TIMES)
    # Blocks and 1,000 resamples leave a tenth or two of doubt in each; their mean over 12 has less.
    assert np.mean((interval.high - interval.low) / (2 * 1.645 * error)) == pytest.approx(1.0, abs=0.15)


def test_no_interval_leaves_what_its_score_can_be() -> None:
    """One day among ten says almost all, so that a t interval would reach below 0; a difference may."""
    scores = made(times=10)
    scores.squared_error[:, :, 4] *= 10_000
    scores.correlation[..., 0] = np.linspace(0.2, 1.0, 10)[None, None, :, None] ** 0.1
    rmse, acc = scores.interval("rmse"), scores.interval("acc")
    assert (rmse.low == 0).all() and (rmse.high > rmse.estimate).all()
    assert (acc.high <= 1).all() and (acc.high[..., 0] == 1).any()
    assert (scores.difference("rmse", "persistence").low < 0).all()


def test_without_enough_initial_times_there_is_no_interval() -> None:
    for scores in (made(times=9), made(replicates=0)):
        interval = scores.interval("rmse")
        assert np.isfinite(interval.estimate).all() and np.isnan(interval.low).all() and np.isnan(interval.high).all()


def test_one_forecast_that_blew_up_is_in_every_score_of_its_own_only() -> None:
    scores = made()
    scores.squared_error[0, 0, 7, 1, 2] = np.inf
    interval, difference = scores.interval("rmse"), scores.difference("rmse", "persistence")
    bad = np.zeros((2, LEADS, CHANNELS), bool)
    bad[0, 1, 2] = True
    np.testing.assert_array_equal(~np.isfinite(scores.rmse()), bad)
    np.testing.assert_array_equal(np.isnan(interval.high), bad)
    np.testing.assert_array_equal(np.isnan(difference.low), bad)
    table = scores.as_dict()["u10"]
    assert table["24"]["model"]["rmse"] is None and table["24"]["persistence"]["rmse"] is not None
    assert scores.as_dict("tropics")["u10"]["24"]["model"]["rmse"] is not None


def test_the_table_has_every_source() -> None:
    table = made().as_dict()
    assert list(table) == ["z500", "t2m", "u10"] and list(table["t2m"]) == ["6", "24"]
    assert list(table["t2m"]["6"]) == ["model", "persistence"]
    assert table["t2m"]["6"]["model"] == pytest.approx(
        {"rmse": made().rmse()[0, 0, 1], "mae": made().mae()[0, 0, 1], "bias": 0.5, "acc": 0.8}
    )


def test_baselines_are_written_as_names() -> None:
    assert parse_baselines("persistence, climatology") == ("persistence", "climatology")
    assert parse_baselines("none") == ()
    assert parse_baselines("climatology,runs/other@last") == ("climatology", "runs/other@last")
    with pytest.raises(ConfigError, match="'persistance' is no baseline.*did you mean 'persistence'"):
        parse_baselines("persistance")
    with pytest.raises(ConfigError, match="'' is no baseline"):
        parse_baselines("persistence,")

"""The learning rate that a known loss is lowest at is found, or it is said why not."""

from __future__ import annotations

import numpy as np
import pytest

from weather.errors import DataError
from weather.study.fits.learning_rate import fit_learning_rates, fit_rate_curve

RATES = np.geomspace(1e-4, 1e-1, 9)
SIZES = (1e5, 1e6, 1e7)


def best_rate(parameters: float) -> float:
    return 0.3 * parameters**-0.35


def losses(parameters: float, rates: np.ndarray = RATES) -> np.ndarray:
    """A parabola about the best rate, which rises steeply where rates are much too large."""
    distance = np.log(rates / best_rate(parameters))
    return 0.5 + 0.02 * distance**2 + 0.05 * np.maximum(0, distance - 2.5) ** 4


def test_a_known_law_is_found() -> None:
    generator = np.random.default_rng(0)
    noise = 1 + 1e-4 * generator.standard_normal((len(SIZES), len(RATES)))
    curves = [fit_rate_curve(n, RATES, losses(n) * noise[i]) for i, n in enumerate(SIZES)]
    for curve in curves:
        # Noise of 5e-5 moves the minimum of a parabola of curvature 0.04 by some 1e-3 in ln rate.
        assert curve.optimum == pytest.approx(best_rate(curve.parameters), rel=0.02)
        assert curve.loss == pytest.approx(0.5, rel=1e-3)
    fit = fit_learning_rates(curves)
    assert fit.law.exponent == pytest.approx(-0.35, abs=0.01)
    assert fit.law.coefficient == pytest.approx(0.3, rel=0.1)
    assert not fit.remarks


def test_order_and_diverged_runs_do_not_matter() -> None:
    values = losses(1e6)
    values[-2:] = np.inf, np.nan
    order = np.random.default_rng(1).permutation(len(RATES))
    curve = fit_rate_curve(1e6, RATES[order], values[order])
    assert curve.optimum == pytest.approx(best_rate(1e6), rel=0.01)
    assert len(curve.rates) == len(RATES) - 2


@pytest.mark.parametrize(
    ("kept", "flaw"),
    [
        (2 * best_rate(1e6) < RATES, "is the smallest"),
        (0.5 * best_rate(1e6) > RATES, "is the largest"),
        (np.arange(9) > 6, "a parabola needs 3"),
    ],
)
def test_an_optimum_outside_the_rates_is_none(kept: np.ndarray, flaw: str) -> None:
    curve = fit_rate_curve(1e6, RATES[kept], losses(1e6)[kept])
    assert curve.optimum is None
    assert flaw in curve.flaw


def test_a_law_needs_two_sizes_and_says_so_when_it_has_no_more() -> None:
    good = [fit_rate_curve(n, RATES, losses(n)) for n in SIZES[:2]]
    edge = fit_rate_curve(1e7, RATES[-4:], losses(1e7)[-4:])
    remarks = fit_learning_rates([*good, edge]).remarks
    assert ("is the smallest" in remarks[0], "two sizes exactly" in remarks[1]) == (True, True)
    with pytest.raises(DataError, match="1 of 2 sizes have a best learning rate"):
        fit_learning_rates([good[0], edge])

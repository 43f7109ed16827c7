"""Fits by channel and lead against laws that are known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.study.fits.made_up_channels import ALIKE, FLOPS_PER_PRODUCT, LARGER, POOLED, made_up_study
from weather.study.fits.channels import ChannelFit, ChannelScaling, compute_exponent, fit_channels
from weather.study.fits.laws import LossLaw


@pytest.fixture(scope="module")
def scaling() -> ChannelScaling:
    return fit_channels(made_up_study())


def cell(scaling: ChannelScaling, channel: str, lead: float) -> ChannelFit:
    return next(fit for fit in scaling.fits if (fit.channel, fit.lead_hours) == (channel, lead))


@pytest.mark.parametrize(("channel", "law"), [("z500", ALIKE), ("q700", LARGER)])
@pytest.mark.parametrize(("lead", "factor"), [(6.0, 1.0), (72.0, 9.0)])
def test_each_channel_has_its_own_law(
    scaling: ChannelScaling, channel: str, law: LossLaw, lead: float, factor: float
) -> None:
    """Exponents within 0.03 (5 % at the least, the noise of 0.2 % moves them by less), the error law within 1 %."""
    fit = cell(scaling, channel, lead)
    assert fit.law is not None and fit.scatter == pytest.approx(0.002, rel=0.3)
    for name in ("model_exponent", "data_exponent", "parameter_exponent"):
        truth = getattr(law, name)
        assert getattr(fit.law, name) == pytest.approx(truth, abs=0.03)
        assert fit.exponents[name].estimate == pytest.approx(getattr(fit.law, name), rel=1e-3)
        assert fit.exponents[name].low - 0.01 < truth < fit.exponents[name].high + 0.01  # 90 % intervals may just miss
    errors = fit.law.loss([1e4, 1e5], [1e7, 1e8])
    np.testing.assert_allclose(errors, factor * law.loss([1e4, 1e5], [1e7, 1e8]), rtol=0.01)
    assert fit.isoflop_exponent is not None
    assert fit.isoflop_exponent.estimate == pytest.approx(law.parameter_exponent, abs=0.05)


def test_pooled_scaling_misleads_one_channel_and_not_the_other(scaling: ChannelScaling) -> None:
    alike, larger = cell(scaling, "z500", 6.0).pooled, cell(scaling, "q700", 6.0).pooled
    assert alike is not None and larger is not None
    assert not alike.misleads and alike.excess < 0.001
    assert larger.misleads and not larger.extrapolated
    late = cell(scaling, "z500", 72.0).pooled  # by chance beyond its interval of 90 %, at no cost
    assert late is not None and late.size_ratio.low > 1 and not late.misleads
    ours, theirs = (law.optimum(scaling.flops, FLOPS_PER_PRODUCT) for law in (LARGER, POOLED))
    assert larger.size_ratio.estimate == pytest.approx(theirs.parameters / ours.parameters, rel=0.1)
    excess = float(LARGER.loss(theirs.parameters, theirs.samples)) / ours.loss - 1
    assert larger.excess == pytest.approx(excess, abs=0.003)  # 3.6 %
    assert larger.best.loss == pytest.approx(ours.loss, rel=0.01)
    seen = cell(scaling, "q700", 6.0).seen
    assert seen is not None and seen.best > seen.pooled and 0.005 < seen.excess < 0.04


def test_a_channel_that_does_not_scale_is_told_from_those_that_do(scaling: ChannelScaling) -> None:
    assert [fit.falls for fit in scaling.fits] == [True, True, True, True, False, False]
    for fit in scaling.fits[4:]:
        assert fit.law is None and fit.pooled is None
        assert "not seen to depend on" in fit.refused["law"]


def test_runs_that_blow_up_are_counted(scaling: ChannelScaling) -> None:
    assert [(fit.runs, fit.blown_up) for fit in scaling.fits[:2]] == [(30, 0), (29, 1)]
    errors = made_up_study()
    squared = errors.squared.copy()
    squared[:, 0, 0], squared[:20, 1, 0] = np.inf, np.nan
    fits = fit_channels(dataclasses.replace(errors, squared=squared), flops=1e15).fits
    assert (fits[0].runs, fits[0].blown_up) == (0, 30) and fits[0].refused["all"]
    assert (fits[2].runs, fits[2].not_verified) == (10, 20)
    assert fits[2].compute_exponent is None and "2 budgets" in fits[2].refused["compute exponent"]
    assert "no two sizes" in fits[3].refused["choice among the runs"]
    assert fits[3].pooled is not None and fits[3].pooled.extrapolated


def test_an_error_that_grows_with_compute_does_not_fall() -> None:
    runs = made_up_study().runs
    rising = compute_exponent(runs.with_loss(runs.flops**0.05), 0.9)
    assert rising.estimate == pytest.approx(0.05) and rising.low > 0

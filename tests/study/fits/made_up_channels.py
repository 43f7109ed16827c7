"""A study whose channels follow laws that are known."""

from __future__ import annotations

import numpy as np

from weather.study.fits.channels import ChannelErrors
from weather.study.fits.laws import LossLaw
from weather.study.fits.observations import Observations

FLOPS_PER_PRODUCT = 6.0
POOLED = LossLaw(0.1, 20.0, 60.0, 0.4, 0.3)
#: The same exponents as the pooled loss, in another unit; and a channel that wants larger models.
ALIKE = LossLaw(250.0, 5e4, 1.5e5, 0.4, 0.3)
LARGER = LossLaw(2e-8, 2e-7, 1.6e-4, 0.15, 0.6)
CHANNELS = ("z500", "q700", "noise")
NOISE = 0.002  # standard deviation of ln L


def made_up_study(seed: int = 0) -> ChannelErrors:
    """Five budgets of six sizes about the pooled optimum, two leads: at the second, errors are three times as large.

    The channel `noise` is as good as it can be from the start. The run of index 7 blows up at the second lead.
    """
    budgets = np.array([1e11, 4e11, 1.6e12, 6.4e12, 2.56e13])
    sizes = [POOLED.optimum(c, FLOPS_PER_PRODUCT).parameters * 2.0 ** np.arange(-2.5, 3.0) for c in budgets]
    parameters, flops = np.concatenate(sizes), np.repeat(budgets, 6)
    samples = flops / (FLOPS_PER_PRODUCT * parameters)
    random = np.random.default_rng(seed)

    def noisy(loss: np.ndarray) -> np.ndarray:
        return np.asarray(loss * np.exp(random.normal(0.0, NOISE, loss.shape)))

    runs = Observations(parameters, samples, flops, noisy(POOLED.loss(parameters, samples)), samples)
    channels = [ALIKE.loss(parameters, samples), LARGER.loss(parameters, samples), np.full(len(flops), 4.0)]
    squared = noisy(np.stack([np.stack([each, 9 * each], axis=-1) for each in channels], axis=1))
    squared[7, :, 1] = np.inf
    return ChannelErrors(runs, CHANNELS, ("m**2 s**-2", "kg kg**-1", ""), (6.0, 72.0), squared)

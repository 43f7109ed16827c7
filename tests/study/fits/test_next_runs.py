"""One run ahead of studies like the demo's: five sizes, four budgets a factor of two apart, noise of 1 to 3 %."""

import numpy as np
import pytest

from weather.study.fits.foretelling import RunAhead, foretell
from weather.study.fits.laws import LossLaw
from weather.study.fits.observations import Observations

K = 1152.0  # FLOPs for each parameter and sample
SIZES = np.array([2920.0, 5528.0, 8904.0, 17960.0, 30960.0])
BUDGETS = 7.5e10 * 2.0 ** np.arange(4)
# E as a share of the loss in the middle of the grid, alpha and beta.
LAWS = ((0, 0.2, 0.2), (0, 0.4, 0.3), (0, 0.6, 0.6), (0.3, 0.3, 0.5), (0.5, 0.4, 0.4), (0.7, 0.5, 0.3), (0.8, 0.6, 0.6))
STUDIES = 84
LEAST_COVERAGE = 0.88
# Of the interval, in ln L: the noise of the run alone would take 1, an estimate as good as least squares about 1.4.
WIDEST = 1.6


def law_of(share: float, alpha: float, beta: float) -> LossLaw:
    """Loss 1 at the middle budget's best size, which is the middle of the sizes."""
    size = 9000.0
    samples = 3e11 / K / size
    model, data = (1 - share) * beta / (alpha + beta), (1 - share) * alpha / (alpha + beta)
    return LossLaw(share, model * size**alpha, data * samples**beta, alpha, beta)


@pytest.mark.slow
def test_intervals_hold_one_run_ahead_and_are_narrow() -> None:
    held, widths = 0, []
    for study in range(STUDIES):
        law, noise = law_of(*LAWS[study % len(LAWS)]), (0.01, 0.02, 0.03)[study % 3]
        random = np.random.default_rng(study)
        flops, parameters = np.repeat(BUDGETS, len(SIZES)), np.tile(SIZES, len(BUDGETS))
        samples = flops / K / parameters
        loss = law.loss(parameters, samples) * np.exp(random.normal(0, noise, len(flops)))
        runs = Observations(parameters, samples, flops, loss, samples)
        coming = 2 * float(BUDGETS[-1])
        size = float(SIZES[np.argmin(np.abs(np.log(SIZES / law.optimum(coming, K).parameters)))])
        seen = float(law.loss(size, coming / K / size) * np.exp(random.normal(0, noise)))
        # The least and the largest error of 19 draws hold a twentieth one with probability 0.9.
        found = foretell(runs, RunAhead(coming, size, coming / K / size), level=0.9, draws=19, seed=study).loss
        held += found.low <= seen <= found.high
        widths.append(np.log(found.width) / (2 * 1.645 * noise))
    assert held >= LEAST_COVERAGE * STUDIES, held
    assert np.median(widths) < WIDEST, np.median(widths)

import numpy as np
import pytest

from tests.study.fits.published import LAW, REPEATED, TOKENS_AND_PARAMETERS, grid, repeating
from weather.errors import DataError
from weather.study.fits.foretelling import RunAhead, foretell

NOISE = 3e-3
NEXT = 1e13 * 4.0**6
OPTIONS = {"level": 0.9, "draws": 20, "seed": 0}


def test_the_answer_is_the_mean_of_both_fits_and_narrower_than_their_union() -> None:
    found = foretell(grid(5, 6, NOISE), RunAhead(NEXT), **OPTIONS)  # type: ignore[arg-type]
    best = LAW.optimum(NEXT, TOKENS_AND_PARAMETERS)
    assert found.parameters.low < best.parameters < found.parameters.high
    assert set(found.by_fit) == {"huber", "projection"}
    first, second = found.by_fit.values()
    assert found.loss.estimate == pytest.approx(np.sqrt(first.estimate * second.estimate))
    assert found.loss.width < max(first.high, second.high) / min(first.low, second.low)
    assert found.loss.low < best.loss < found.loss.high
    assert found.remarks == ("C is 16 times the largest that was fitted",)


def test_a_given_size_has_its_own_loss_and_no_width_in_size() -> None:
    """A tenth of the best size costs much more loss than the interval is wide."""
    best = LAW.optimum(NEXT, TOKENS_AND_PARAMETERS)
    size = best.parameters / 10
    samples = NEXT / TOKENS_AND_PARAMETERS / size
    found = foretell(grid(5, 6, NOISE), RunAhead(NEXT, size, samples), **OPTIONS)  # type: ignore[arg-type]
    assert found.parameters.low == found.parameters.high == size
    assert best.loss < found.loss.low < LAW.loss(size, samples) < found.loss.high


def test_noise_between_seeds_widens_the_interval() -> None:
    runs = grid(5, 6, 1e-4)
    narrow, wide = (foretell(runs, RunAhead(NEXT), seed_noise=noise, **OPTIONS) for noise in (0.0, 0.02))  # type: ignore[arg-type]
    assert wide.noise == 0.02
    assert np.log(wide.loss.high / wide.loss.low) > 2 * 1.64 * 0.02 > 3 * np.log(narrow.loss.high / narrow.loss.low)


def test_a_run_that_repeats_its_data_is_foretold_by_their_law() -> None:
    """Taken for new data, they would promise a loss far below the interval."""
    samples = 1e9
    size = float(LAW.optimum(1e17, TOKENS_AND_PARAMETERS).parameters)
    ahead = RunAhead(TOKENS_AND_PARAMETERS * size * samples, size, samples, samples / 8)
    found = foretell(repeating(NOISE, seed=1), ahead, **OPTIONS)  # type: ignore[arg-type]
    assert found.loss.low < REPEATED.loss(size, samples, samples / 8) < found.loss.high
    assert LAW.loss(size, samples) < found.loss.low


def test_what_repetition_costs_is_not_made_up() -> None:
    """No run has shown it."""
    ahead = RunAhead(NEXT, 1e7, NEXT / 6e7, NEXT / 6e7 / 40)
    remarks = foretell(grid(3, 4, NOISE), ahead, **OPTIONS).remarks  # type: ignore[arg-type]
    assert remarks[-1].startswith("the run repeats its data (40 epochs) and no fitted runs show what that costs")


def test_too_few_budgets_leave_one_interval_and_too_few_runs_none() -> None:
    found = foretell(grid(2, 6, NOISE), RunAhead(NEXT), **OPTIONS)  # type: ignore[arg-type]
    assert "its interval is by run only: 2 budgets" in " ".join(found.remarks)
    with pytest.raises(DataError, match="neither fit of L"):
        foretell(grid(1, 4, NOISE), RunAhead(NEXT), **OPTIONS)  # type: ignore[arg-type]


def test_a_few_epochs_may_count_as_new_data() -> None:
    ahead = RunAhead(NEXT, 1e7, NEXT / 6e7, NEXT / 6e7 / 4, most_epochs=4)
    assert "repeats" not in " ".join(foretell(grid(3, 4, NOISE), ahead, **OPTIONS).remarks)  # type: ignore[arg-type]

import pytest

from tests.study.fits.published import LAW, cs336, grid
from weather.study.fits.forms import FORMS, compare_forms, fit_form
from weather.study.fits.laws import LossLaw

FULL, WITHOUT_E, ONE_EXPONENT = FORMS


@pytest.mark.parametrize(
    ("name", "law"),
    [(FULL, LAW), (WITHOUT_E, LossLaw(0.0, 5.0, 8.0, 0.34, 0.28)), (ONE_EXPONENT, LossLaw(0.02, 5.0, 8.0, 0.3, 0.3))],
)
def test_each_form_finds_its_own_law(name: str, law: LossLaw) -> None:
    found = fit_form(grid(5, 6, 0.0, law=law), FORMS[name])
    for key, value in vars(law).items():
        assert getattr(found, key) == pytest.approx(value, rel=1e-3), key


def test_coefficients_are_counted() -> None:
    assert [form.coefficients for form in FORMS.values()] == [5, 4, 4]


def test_the_form_that_made_the_runs_is_preferred() -> None:
    assert compare_forms(cs336(), 0.0).verdict.startswith(f"{FULL} is preferred")


def test_forms_that_cannot_be_told_apart_are_said_to_be_so() -> None:
    """Exponents that differ by a tenth, under 3 % of noise."""
    law = LossLaw(0.02, 5.0, 8.0, 0.30, 0.33)
    assert compare_forms(grid(4, 5, 0.03, law=law), 0.0).verdict.startswith("the data cannot tell")

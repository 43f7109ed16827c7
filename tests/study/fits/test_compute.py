import numpy as np
import pytest

from weather.errors import DataError
from weather.study.fits.compute import fit_compute
from weather.study.fits.laws import PowerLaw

FLOPS = np.geomspace(1e15, 1e20, 6)


@pytest.mark.parametrize("law", [PowerLaw(30.0, -0.12, 0.05), PowerLaw(2.0, -0.03, 0.4), PowerLaw(1e4, -0.4, 0.9)])
def test_finds_the_law_with_an_offset(law: PowerLaw) -> None:
    fit = fit_compute(FLOPS, law(FLOPS), offset=True)
    assert [fit.law.coefficient, fit.law.exponent, fit.law.offset] == pytest.approx(
        [law.coefficient, law.exponent, law.offset], rel=1e-3
    )
    assert fit.coefficients == 3


def test_published_law_without_an_offset() -> None:
    """arXiv 2603.25687: L_opt = 105 C^-0.217; an offset finds nothing to do."""
    law = PowerLaw(105.0, -0.217)
    plain, offset = (fit_compute(FLOPS, law(FLOPS), offset=choice).law for choice in (False, True))
    assert [plain.coefficient, plain.exponent] == pytest.approx([105.0, -0.217], rel=1e-9)
    assert [offset.coefficient, offset.exponent] == pytest.approx([105.0, -0.217], rel=1e-4)
    assert offset.offset < 1e-6 * law(FLOPS).min()


@pytest.mark.parametrize(("budgets", "offset"), [(1, False), (2, True)])
def test_fewer_budgets_than_coefficients_are_refused(budgets: int, offset: bool) -> None:
    with pytest.raises(DataError, match="coefficients"):
        fit_compute(FLOPS[:budgets], np.ones(budgets), offset=offset)

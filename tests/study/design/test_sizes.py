"""Sizes of a family, and the budgets that they are trained with."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from weather.config.wrapper import ConfigWrapper
from weather.errors import DataError
from weather.model.flops import model_cost
from weather.study.design.description import ExpectedOptimum, Family
from weather.study.design.sizes import Expectation, Size, family_sizes, nearest_size

BASE = ConfigWrapper({"model": {"img_size": [32, 64], "input_channels": 4, "output_channels": 4}})
SIZES = [Size(16 * n, 2, n, 10**n, 10 ** (n + 2)) for n in range(1, 6)]


def test_sizes_are_even_in_their_logarithm_and_have_whole_heads() -> None:
    family = Family(head_dim=8, width_per_layer=16, fewest_layers=2, parameters=(5e4, 5e6), count=6)
    sizes = family_sizes(family, BASE)
    for target, size in zip((5e4 * 100 ** (n / 5) for n in range(6)), sizes, strict=True):
        assert size.width == 8 * size.heads
        assert size.layers == max(2, round(size.width / 16))
        assert size.parameters == model_cost(BASE.replace(size.settings()).model).parameters
        wider, narrower = (
            family_sizes(Family(head_dim=8, width_per_layer=16, widths=[size.width + step]), BASE)[0]
            for step in (8, -8)
        )
        distance = abs(math.log(size.parameters / target))
        assert all(distance <= abs(math.log(other.parameters / target)) for other in (wider, narrower))


def test_sizes_that_have_the_same_nearest_width_are_one() -> None:
    family = Family(head_dim=64, parameters=(2e5, 4e5), count=5)
    assert len(family_sizes(family, BASE)) < 5


def test_the_nearest_of_all_sizes_is_found_however_large_it_is() -> None:
    family = Family(head_dim=8, width_per_layer=16, widths=[8])
    smaller, middle, larger = family_sizes(Family(head_dim=8, width_per_layer=16, widths=[80, 88, 96]), BASE)
    for other, share in ((smaller, 0.49), (smaller, 0.51), (larger, 0.49), (larger, 0.51)):
        between = middle.parameters ** (1 - share) * other.parameters**share
        assert nearest_size(family, between, BASE) == (middle if share < 0.5 else other)
    assert nearest_size(family, 1.0, BASE).width == 8
    # Width by width this would take years.
    assert nearest_size(family, 1e30, BASE).parameters == pytest.approx(1e30, rel=1e-6)


def test_sizes_near_an_expected_optimum() -> None:
    law = Expectation(ExpectedOptimum(exponent=0.5, coefficient=1.0))
    assert law.parameters(1e6, SIZES) == pytest.approx(1e3)
    assert [size.parameters for size in law.near(SIZES, 1e6, 10.0)] == [100, 1000, 10000]
    assert law.near(SIZES, 1e6, None) == SIZES
    assert law.doubt(SIZES, 1e6) == ""
    assert "the optimum is expected at 1e+06" in law.doubt(SIZES, 1e12)
    assert "3, on both sides" in law.doubt(SIZES[:2], 1e3)
    assert Expectation(None).doubt(SIZES, 1e12) == "", "without a law nothing is known"


def test_an_earlier_fit_gives_the_expected_optimum(tmp_path: Path) -> None:
    path = tmp_path / "fit.json"
    law = {"irreducible": 0.1, "model_coefficient": 1.0, "data_coefficient": 1.0,
           "model_exponent": 0.5, "data_exponent": 0.5}  # fmt: skip
    path.write_text(json.dumps({"isoflops": None, "laws": {"huber": {"law": law}}}))
    # With equal terms N = D, and C = k N D with k = 100 of the sizes.
    assert Expectation(str(path)).parameters(1e8, SIZES) == pytest.approx(1e3)
    curves = {"parameters": {"coefficient": 2.0, "exponent": 0.5, "offset": 0.0}}
    path.write_text(json.dumps({"isoflops": curves, "laws": {}}))
    assert Expectation(str(path)).parameters(1e6, SIZES) == pytest.approx(2e3)
    path.write_text("{}")
    with pytest.raises(DataError, match="gives no expected optimum"):
        Expectation(str(path))

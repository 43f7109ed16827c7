"""Moments are exact in float64, whatever the offset, the order of the blocks and their layout."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from weather.data.moments import TILE, Moments


def of(*blocks: np.ndarray) -> Moments:
    moments = Moments(blocks[0].shape[1])
    for block in blocks:
        moments.update(block)
    return moments


def normal(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(5).normal(size=shape)


def exact(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation by correctly rounded sums (`math.fsum`) of exact terms."""
    flat = [float(value) for value in values.ravel()]
    mean = math.fsum(flat) / len(flat)
    deviations = [value - mean for value in flat]
    return mean, math.sqrt((math.fsum(d * d for d in deviations) - math.fsum(deviations) ** 2 / len(flat)) / len(flat))


VARIABLES: dict[str, Callable[[tuple[int, ...]], np.ndarray]] = {
    "geopotential 5e5 +- 1": lambda shape: 5e5 + normal(shape),
    "pressure, one step of float32": lambda shape: 101325 + np.float32(0.0078125) * (normal(shape) > 0),
    "specific humidity": lambda shape: 1e-6 + 1e-9 * normal(shape),
    "wind around zero": lambda shape: 10 * normal(shape),
    "rain, mostly none": lambda shape: 1e-3 * np.maximum(normal(shape) - 1.6, 0),
    "an outlier first": lambda shape: np.where(np.arange(np.prod(shape)).reshape(shape) == 0, 0.0, 5e5),
    "a drift": lambda shape: 300 + np.linspace(0, 50, shape[0])[:, None, None, None] + normal(shape),
}


@pytest.mark.parametrize("name", VARIABLES)
def test_as_exact_as_correctly_rounded_sums(name: str) -> None:
    fields = VARIABLES[name]((6, 1, 30, 60)).astype(np.float32)
    moments = of(*(fields[i : i + 2] for i in (0, 2, 4)))
    mean, std = exact(fields)
    assert moments.mean[0] == pytest.approx(mean, rel=1e-15, abs=1e-14 * std)
    assert moments.stds[0] == pytest.approx(std, rel=1e-11 if name == "an outlier first" else 1e-13)
    assert (moments.minimum[0], moments.maximum[0]) == (fields.min(), fields.max())


@pytest.mark.parametrize("shape", [(3, 4, 5, 7), (2, 3, 181, 200), (1, 40, 32, 64), (2, 2, 1, 1), (1, 1, 1, TILE + 1)])
def test_every_size_of_planes(shape: tuple[int, ...]) -> None:
    """Planes smaller and larger than what is worked on at once, and such as do not divide it."""
    fields = (normal(shape) + 100 * np.arange(shape[1]).reshape(1, -1, 1, 1)).astype(np.float32)
    moments, wide = of(fields), fields.astype(np.longdouble)
    assert moments.count == fields[:, 0].size
    np.testing.assert_allclose(moments.mean, wide.mean((0, 2, 3)).astype(float), rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(moments.stds, wide.std((0, 2, 3)).astype(float), rtol=1e-12)
    np.testing.assert_array_equal(moments.minimum, fields.min((0, 2, 3)))
    np.testing.assert_array_equal(moments.maximum, fields.max((0, 2, 3)))


def test_layout_in_memory_does_not_matter() -> None:
    fields = normal((3, 2, 8, 10)).astype(np.float32)
    plain = of(fields)
    for view in (
        np.asfortranarray(fields),
        fields[:, :, ::-1][:, :, ::-1],
        np.moveaxis(fields.copy(), 1, 0).copy().swapaxes(0, 1),
    ):
        np.testing.assert_array_equal(of(view).squares, plain.squares)


@pytest.mark.parametrize("value", [0.1, 273.15, 5e5, 0.0, 1e-30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_channel_has_no_spread_at_all(value: float, dtype: type) -> None:
    """Not 1e-15: that would pass for a positive standard deviation."""
    fields = np.full((3, 2, 7, 11), value, dtype)
    moments = of(fields, fields)
    assert moments.squares.tolist() == [0.0, 0.0] and moments.mean.tolist() == [float(fields[0, 0, 0, 0])] * 2


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_shows_in_its_channel_only(bad: float) -> None:
    fields = normal((2, 3, 4, 5)).astype(np.float32)
    fields[1, 1, 2, 3] = bad
    moments = of(fields)
    assert np.isfinite(moments.squares).tolist() == [True, False, True]


def test_nothing_taken_in() -> None:
    moments = of(np.empty((0, 2, 3, 4), np.float32))
    assert (moments.count, moments.minimum.tolist(), moments.stds.tolist()) == (0, [np.inf, np.inf], [0.0, 0.0])

"""Scores against their definitions in float64 NumPy, and weights against the sphere."""

from __future__ import annotations

import numpy as np
import pytest

from weather.verification.metrics import area_weights


def sine(degrees: float) -> float:
    return float(np.sin(np.deg2rad(degrees)))


# --- area weights ---


@pytest.mark.parametrize("rows", [2, 3, 48, 180, 720])
def test_equal_cells_from_pole_to_pole_weigh_as_the_cosine(rows: int) -> None:
    latitude = 90 - (np.arange(rows) + 0.5) * 180 / rows
    cosine = np.cos(np.deg2rad(latitude))
    # sin(a + d) - sin(a - d) = 2 cos(a) sin(d): exact but for rounding.
    np.testing.assert_allclose(area_weights(latitude), cosine / cosine.mean(), rtol=1e-9)


def test_three_rows_by_hand() -> None:
    # Edges at 90, 30, -30, -90 degrees: areas 1 - 1/2, 1/2 + 1/2, -1/2 + 1.
    np.testing.assert_allclose(area_weights(np.array([60.0, 0.0, -60.0])), [0.75, 1.5, 0.75])
    # Half a step beyond 70 is no latitude; the cap reaches from 35 to the pole.
    cap = 1 - sine(35)
    expected = np.array([cap, 2 * sine(35), cap])
    np.testing.assert_allclose(area_weights(np.array([70.0, 0.0, -70.0])), expected * 3 / 2)
    # Rows that are not half a step from the poles, as on a Gaussian grid: edges at 90, 32.5, -32.5, -90.
    cap = 1 - sine(32.5)
    expected = np.array([cap, sine(32.5), sine(32.5), cap])
    np.testing.assert_allclose(area_weights(np.array([55.0, 10.0, -10.0, -55.0])), expected * 2)
    # Points on the poles: edges at 90, 45, -45, -90.
    cap = 1 - sine(45)
    expected = np.array([cap, 2 * sine(45), cap])
    np.testing.assert_allclose(area_weights(np.array([90.0, 0.0, -90.0])), expected * 3 / 2)


@pytest.mark.parametrize("rows", [181, 721])
def test_points_on_the_poles_have_half_cells(rows: int) -> None:
    latitude = np.linspace(90.0, -90.0, rows)
    step = 180 / (rows - 1)
    weights = area_weights(latitude)
    area = 2 * np.cos(np.deg2rad(latitude)) * sine(step / 2)
    area[[0, -1]] = 1 - sine(90 - step / 2)
    np.testing.assert_allclose(weights, area / area.mean(), rtol=1e-9)
    assert 0 < weights[0] < weights[1] / 2, "a cosine would give the pole nothing"


@pytest.mark.parametrize(
    "latitude",
    [np.linspace(90, -90, 7), np.array([60.0, 10.0, -20.0]), np.array([47.5, 52.5, 60.0]), np.array([-80.0, -85.0])],
)
def test_weights_work_either_way_round(latitude: np.ndarray) -> None:
    np.testing.assert_allclose(area_weights(latitude[::-1]), area_weights(latitude)[::-1], rtol=1e-12)


def test_weights_of_float32_latitudes_are_good_at_the_poles() -> None:
    # 721 rows: the area of a polar cell is 2e-6 of the sphere's, lost if sines were subtracted in float32.
    latitude = np.linspace(90.0, -90.0, 721)
    np.testing.assert_allclose(area_weights(latitude.astype(np.float32)), area_weights(latitude), rtol=1e-5)


@pytest.mark.parametrize("rows", [32, 48, 64, 160])
def test_rows_of_a_gaussian_grid_weigh_as_gauss_says(rows: int) -> None:
    nodes, quadrature = np.polynomial.legendre.leggauss(rows)
    latitude = np.rad2deg(np.arcsin(nodes))
    weights = area_weights(latitude)
    assert latitude[0] < 0 < latitude[-1], "south to north"
    # Cells that end midway are not quite Gauss's: within 1 % of each row, but for those at the poles.
    np.testing.assert_allclose(weights[1:-1], (quadrature / quadrature.mean())[1:-1], rtol=0.01)
    np.testing.assert_allclose(weights[[0, -1]], (quadrature / quadrature.mean())[[0, -1]], rtol=0.1)
    # The mean of sin^2 over the sphere is 1/3.
    assert np.mean(weights * nodes**2) == pytest.approx(1 / 3, rel=2e-3)


def test_a_region_does_not_reach_to_the_poles() -> None:
    weights = area_weights(np.array([50.0, 40.0, 30.0]))
    area = np.array([sine(55) - sine(45), sine(45) - sine(35), sine(35) - sine(25)])
    np.testing.assert_allclose(weights, area / area.mean())


def test_a_region_at_one_pole_ends_there_only() -> None:
    weights = area_weights(np.array([90.0, 80.0, 70.0]))
    area = np.array([1 - sine(85), sine(85) - sine(75), sine(75) - sine(65)])
    np.testing.assert_allclose(weights, area / area.mean())


def test_one_row_is_all_there_is() -> None:
    assert area_weights(np.array([45.0])).tolist() == [1.0]


@pytest.mark.parametrize("rows", [2, 5, 48, 181])
def test_weights_have_mean_one_and_are_positive(rows: int) -> None:
    weights = area_weights(np.linspace(90.0, -90.0, rows))
    assert weights.mean() == pytest.approx(1.0, abs=1e-12)
    assert (weights > 0).all()

"""What the model is told of place and time, against values worked out point by point."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.archives import WrittenArchive
from weather.data.archive import open_archive
from weather.data.extra_inputs import ExtraInputs
from weather.data.static_fields import write_static_fields
from weather.data.year_file import default_latitude, default_longitude
from weather.errors import ConfigError, DataError

MakeArchive = Callable[..., WrittenArchive]
GRID = (4, 8)
LATITUDE, LONGITUDE = default_latitude(GRID[0]), default_longitude(GRID[1])
CPU = torch.device("cpu")
TIME = np.array([["2024-02-29T06", "2024-12-31T13"], ["2023-07-02T00", "2023-07-02T07"]], "datetime64[s]")
ROUNDING = 2e-6  # of angles up to 4 pi in float32


def extra(*names: str, longitude: np.ndarray = LONGITUDE) -> np.ndarray:
    """Fields [batch, time, extra channel, lat, lon] that are appended to zeros, which stay."""
    states = torch.zeros(*TIME.shape, 3, *GRID)
    found = ExtraInputs(names, (), LATITUDE, longitude, CPU).append(states, TIME)
    assert found.dtype == torch.float32
    assert torch.equal(found[:, :, :3], states)
    return found[:, :, 3:].numpy()


def test_they_stand_behind_the_channels_in_the_order_asked() -> None:
    found = extra("sin_latitude", "longitude", "cos_latitude")
    rows, columns = np.deg2rad(LATITUDE)[:, None], np.deg2rad(LONGITUDE)
    expected = np.stack(np.broadcast_arrays(np.sin(rows), np.sin(columns), np.cos(columns), np.cos(rows)))
    np.testing.assert_allclose(found, np.broadcast_to(expected, (2, 2, *expected.shape)), atol=ROUNDING)


@pytest.mark.parametrize("longitude", [LONGITUDE, LONGITUDE - 180.0])
def test_time_of_day_is_that_of_the_place(longitude: np.ndarray) -> None:
    """06 UTC is noon at 90 degrees east and midnight at 90 degrees west."""
    sine, cosine = np.moveaxis(extra("time_of_day", longitude=longitude), 2, 0)
    east, west = ((longitude % 360 == degrees).argmax() for degrees in (90.0, 270.0))
    np.testing.assert_allclose([sine[0, 0, :, east], cosine[0, 0, :, east]], [[0.0] * 4, [-1.0] * 4], atol=ROUNDING)
    np.testing.assert_allclose([sine[0, 0, :, west], cosine[0, 0, :, west]], [[0.0] * 4, [1.0] * 4], atol=ROUNDING)
    hours = (np.array([[6, 13], [0, 7]])[..., None, None] + longitude / 15) * np.ones((4, 1))
    np.testing.assert_allclose(sine, np.sin(hours / 12 * np.pi), atol=ROUNDING)


def test_day_of_year_knows_leap_years() -> None:
    sine, cosine = np.moveaxis(extra("day_of_year"), 2, 0)
    share = np.array([[59.25 / 366, (365 + 13 / 24) / 366], [182 / 365, (182 + 7 / 24) / 365]])[..., None, None]
    np.testing.assert_allclose(sine, np.broadcast_to(np.sin(2 * np.pi * share), sine.shape), atol=ROUNDING)
    np.testing.assert_allclose(cosine, np.broadcast_to(np.cos(2 * np.pi * share), sine.shape), atol=ROUNDING)


def test_insolation_is_a_quarter_of_the_solar_constant_over_the_globe() -> None:
    """Whatever the season: the disc that the Earth shows to the sun over its surface, times the distance factor."""
    latitude, longitude = default_latitude(180), default_longitude(360)
    time = np.array([[f"2023-{month:02}-15T{2 * month - 1:02}"] for month in range(1, 13)], "datetime64[s]")
    states = torch.zeros(12, 1, 0, 180, 360)
    found = ExtraInputs(["insolation"], (), latitude, longitude, CPU).append(states, time)[:, 0, 0].double().numpy()
    weights = np.cos(np.deg2rad(latitude))
    means = np.average(found.mean(axis=2), axis=1, weights=weights)
    assert means * 4 == pytest.approx(1 + 0.0334 * np.cos(2 * np.pi * (np.arange(12) * 30.4 + 11) / 365), abs=2e-3)
    assert found.min() == 0.0
    # Where the sun is overhead: at 13 UTC of 15 July at 15 degrees west less 6 minutes, 21.5 degrees north.
    row, column = np.unravel_index(found[6].argmax(), (180, 360))
    assert (latitude[row], longitude[column]) == (pytest.approx(21.5, abs=1.0), pytest.approx(346.5, abs=1.0))


def write_static(folder: Path, orography: np.ndarray, **more: np.ndarray) -> None:
    names = ("orography", *more)
    write_static_fields(folder, names, ("m",) * len(names), np.stack([orography, *more.values()]), LATITUDE, LONGITUDE)


def test_static_fields_have_area_mean_0_and_deviation_1(make_archive: MakeArchive) -> None:
    archive = make_archive(grid=GRID)
    orography = np.random.default_rng(0).normal(1000.0, 300.0, GRID)
    write_static(archive.folder, orography)
    opened = open_archive(archive.section(extra_inputs=["cos_latitude", "orography"]))
    scores = opened.static_inputs[0].scores
    weights = np.repeat(np.abs(np.diff(np.sin(np.deg2rad([90, 45, 0, -45, -90])))), 8).reshape(GRID)
    mean = np.average(orography, weights=weights)
    deviation = np.sqrt(np.average((orography - mean) ** 2, weights=weights))
    np.testing.assert_allclose(scores, (orography - mean) / deviation, atol=1e-5)
    inputs = ExtraInputs(["orography"], opened.static_inputs, LATITUDE, LONGITUDE, CPU)
    found = inputs.append(torch.zeros(*TIME.shape, 3, *GRID), None)  # no time stamps are needed
    np.testing.assert_array_equal(found[1, 1, 3], scores)


def test_static_fields_are_coarsened_with_the_states(make_archive: MakeArchive) -> None:
    archive = make_archive(grid=GRID)
    orography = np.arange(32.0).reshape(GRID)
    write_static(archive.folder, orography)
    (found,) = open_archive(archive.section(extra_inputs=["orography"], coarsen=2)).static_inputs
    assert found.scores.shape == (2, 4)
    assert np.allclose(np.diff(found.scores, axis=1), found.scores[0, 1] - found.scores[0, 0], atol=1e-6)
    assert found.scores.mean() == pytest.approx(0.0, abs=1e-6)


def test_names_are_checked_against_the_archive(make_archive: MakeArchive) -> None:
    archive = make_archive(grid=GRID)
    with pytest.raises(
        ConfigError, match=r"has no static.h5: .*unknown input 'cos_latitud';.*did you mean 'cos_latitude'"
    ):
        open_archive(archive.section(extra_inputs=["cos_latitud"]))
    write_static(archive.folder, np.arange(32.0).reshape(GRID), flat=np.full(GRID, 7.0))
    with pytest.raises(
        ConfigError,
        match=r"'orografy'; computed: .*insolation; static fields .*: orography, flat; did you mean 'orography'",
    ):
        open_archive(archive.section(extra_inputs=["orografy"]))
    with pytest.raises(DataError, match="'flat' is 7 everywhere"):
        open_archive(archive.section(extra_inputs=["flat"]))


@pytest.mark.parametrize("name", ["time_of_day", "day_of_year", "insolation"])
def test_without_time_stamps_temporal_inputs_are_refused(make_archive: MakeArchive, name: str) -> None:
    archive = make_archive(grid=GRID, times={"train": (None, None), "valid": (None,), "test": (None,)})
    with pytest.raises(ConfigError, match=f"data.extra_inputs: {name}, but the archive has no time stamps"):
        open_archive(archive.section(extra_inputs=[name]))
    assert open_archive(archive.section(extra_inputs=["sin_latitude"])).static_inputs == ()

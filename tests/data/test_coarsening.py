"""Coarse states from a fine archive: means over the globe, coordinates, every way into a run, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.archives import WrittenArchive
from weather.config.schema import DataSection
from weather.config.wrapper import ConfigWrapper
from weather.data.archive import open_archive
from weather.data.coarsening import Coarsening, plan_coarsening
from weather.data.grid import latitude_edges, valid_factors
from weather.data.loader import BatchLoader, Samples, check_finite
from weather.data.year_file import Header, default_latitude, default_longitude
from weather.errors import ConfigError, DataError
from weather.training.preparation import changed_identity, prepare
from weather.verification.climatology import fit_climatology
from weather.verification.metrics import area_weights

MakeArchive = Callable[..., WrittenArchive]
GAUSSIAN = np.rad2deg(np.arcsin(np.polynomial.legendre.leggauss(12)[0]))
GRIDS = {
    "cells": (default_latitude(12), default_longitude(24)),
    "both poles": (default_latitude(13), default_longitude(24)),
    "south first": (default_latitude(13)[::-1], default_longitude(24) - 180.0),
    "Gaussian": (GAUSSIAN, default_longitude(24)),
    "one pole": (default_latitude(13)[:-1], default_longitude(24)),
    "region": (np.linspace(60.0, 26.0, 12), np.linspace(-12.0, 34.0, 24)),
}


def header(latitude: np.ndarray, longitude: np.ndarray) -> Header:
    shape = (1, 1, len(latitude), len(longitude))
    return Header(Path("year.h5"), shape, np.dtype("f4"), ("t",), latitude, longitude, None, ("K",))


def coarsening(grid: str | tuple[np.ndarray, np.ndarray], factor: int, by: str = "area_mean") -> Coarsening:
    section = DataSection.model_validate({"coarsen": factor, "coarsen_by": by})
    found = plan_coarsening(section, header(*(GRIDS[grid] if isinstance(grid, str) else grid)))
    assert found is not None
    return found


def coarsened(grid: str, factor: int, by: str, field: np.ndarray) -> np.ndarray:
    plan = coarsening(grid, factor, by)
    out = np.full((1, *plan.grid), np.nan, np.float32)
    plan.apply(field[None].astype(np.float32), out)
    return out[0]


def noise(grid: str) -> np.ndarray:
    return np.random.default_rng(3).standard_normal([len(axis) for axis in GRIDS[grid]])


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("grid", ["cells", "both poles", "south first", "Gaussian"])
def test_area_means_keep_the_mean_over_the_globe(grid: str, factor: int) -> None:
    """By the weights that the scores of the coarse grid use."""
    field = noise(grid) + 5.0
    coarse = coarsened(grid, factor, "area_mean", field)
    weights = [area_weights(latitude)[:, None] for latitude in (GRIDS[grid][0], coarsening(grid, factor).latitude)]
    # 1e-3 for Gaussian rows: the middle of two of them is not quite where the cells of the block meet.
    tolerance = 1e-3 if grid == "Gaussian" else 1e-6
    assert (coarse * weights[1]).mean() == pytest.approx((field * weights[0]).mean(), abs=tolerance)


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("grid", sorted(GRIDS))
def test_area_mean_is_the_integral_over_the_coarse_cell(grid: str, factor: int) -> None:
    """Against sums over 200,000 points equally spaced in the sine of latitude, 17,000 or more a coarse row."""
    latitude = GRIDS[grid][0]
    plan = coarsening(grid, factor)
    field = np.repeat(np.random.default_rng(3).standard_normal(len(latitude))[:, None], 24, axis=1)
    edges = np.sort(np.sin(np.deg2rad(latitude_edges(latitude))))
    points = np.linspace(edges[0], edges[-1], 200_001)[1:] - (edges[-1] - edges[0]) / 400_002
    order = 1 if latitude[0] < latitude[-1] else -1
    values = field[::order, 0][np.searchsorted(edges, points) - 1]
    cell = np.searchsorted(np.sort(np.sin(np.deg2rad(latitude_edges(plan.latitude)))), points) - 1
    expected = [values[cell == row].mean() for row in range(plan.grid[0])][::order]
    coarse = coarsened(grid, factor, "area_mean", field)
    np.testing.assert_allclose(coarse, np.repeat(np.array(expected)[:, None], plan.grid[1], axis=1), atol=1e-3)


@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("grid", ["cells", "both poles", "region"])
def test_bilinear_gives_what_is_linear_at_the_coarse_points(grid: str, factor: int) -> None:
    plan = coarsening(grid, factor, "bilinear")
    latitude, longitude = GRIDS[grid]
    coarse = coarsened(grid, factor, "bilinear", 2.0 * latitude[:, None] - 0.5 * longitude)
    np.testing.assert_allclose(coarse, 2.0 * plan.latitude[:, None] - 0.5 * plan.longitude, atol=1e-3)


@pytest.mark.parametrize(("grid", "row"), [("cells", 1), ("both poles", 0), ("region", 1)])
def test_stride_takes_points_as_they_are(grid: str, row: int) -> None:
    field, plan = noise(grid), coarsening(grid, 3, "stride")
    taken = (slice(row, None, 3), slice(1, None, 3))
    np.testing.assert_array_equal(coarsened(grid, 3, "stride", field), field[taken].astype(np.float32))
    np.testing.assert_array_equal(plan.latitude, GRIDS[grid][0][taken[0]])
    np.testing.assert_array_equal(plan.longitude, GRIDS[grid][1][taken[1]])


def test_coordinates_of_the_quarter_degree_grid() -> None:
    grid = (default_latitude(721), default_longitude(1440))
    plan = coarsening(grid, 4)
    assert plan.grid == (181, 360)
    np.testing.assert_allclose(plan.latitude, np.linspace(90, -90, 181))
    np.testing.assert_allclose(plan.longitude, np.arange(360) + 0.375)
    # With a row on each pole all weights are those of the one-degree grid.
    assert plan.rows.shape == (5, 181)
    assert plan.rows[:, 0].max() == 2 and plan.rows[:, -1].min() == 718
    np.testing.assert_allclose(plan.row_weights.sum(axis=0), 1.0, atol=1e-6)


def test_longitudes_that_jump_keep_their_range() -> None:
    latitude = default_latitude(4)
    east = np.array([170.0, 175.0, -180.0, -175.0])
    np.testing.assert_allclose(coarsening((latitude, east), 2).longitude, [172.5, -177.5])
    np.testing.assert_allclose(coarsening((latitude, np.roll(default_longitude(8), 3)), 2).longitude[1], 337.5)


def test_a_value_that_is_not_finite_stays_in_its_cells() -> None:
    for row in (0, 12):
        field = noise("both poles")
        field[row, 5] = np.nan
        coarse = coarsened("both poles", 4, "area_mean", field)
        assert np.argwhere(np.isnan(coarse)).tolist() == [[row // 4, 1]]


@pytest.mark.parametrize(
    ("grid", "factor", "message"),
    [
        ((default_latitude(721), default_longitude(1440)), 7, "the 720 steps between the poles; nearest valid: 6 or 8"),
        ((default_latitude(720), default_longitude(1440)), 7, "and the latitudes; nearest valid: 6 or 8"),
        ((default_latitude(64), default_longitude(128)), 64, "nearest valid: 32"),
        ((default_latitude(12), np.geomspace(1.0, 300.0, 24)), 2, "equally spaced"),
    ],
)
def test_what_does_not_fit_is_refused(grid: tuple[np.ndarray, np.ndarray], factor: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        coarsening(grid, factor)


def test_valid_factors() -> None:
    assert valid_factors(default_latitude(721), default_longitude(1440))[:5] == [1, 2, 3, 4, 5]
    assert valid_factors(default_latitude(64), default_longitude(128)) == [1, 2, 4, 8, 16, 32]
    assert valid_factors(default_latitude(1), default_longitude(1)) == [1]


# --- in a run ---


@pytest.mark.parametrize("threads", [0, 3])
@pytest.mark.parametrize("layout", [{}, {"chunks": (1, 3, 4, 8), "compression": "gzip"}], ids=["plain", "gzip"])
@pytest.mark.parametrize("by", ["area_mean", "bilinear", "stride"])
def test_batches_are_coarse(make_archive: MakeArchive, threads: int, layout: dict[str, Any], by: str) -> None:
    written = make_archive(grid=(9, 16), **layout)
    archive = open_archive(written.section(coarsen=2, coarsen_by=by, channels=["z500", "t2m"]), ("train",))
    assert archive.grid == archive.splits["train"].grid == (5, 8)
    split = archive.splits["train"]
    samples = Samples(split, split.starts(2, 1), 2, 1)
    loader = BatchLoader(samples, archive.channel_indices, batch_size=2, device=torch.device("cpu"), threads=threads)
    order = [np.array([0, 5]), np.array([9, 3]), np.array([1]), np.array([7, 12])]
    for batch in loader.batches(order):
        for row, position in enumerate(batch.positions):
            expected = np.empty((3, 2, 5, 8), np.float32)
            for out, state in zip(expected, samples.states(position), strict=True):
                split.coarsening.apply(written.states()[state][[2, 0]], out)  # type: ignore[union-attr]
            np.testing.assert_array_equal(batch.fields[row].numpy(), expected, strict=True)
    loader.close()


def test_a_run_is_coarse_everywhere(make_archive: MakeArchive) -> None:
    """Model, training, validation and climatology see one grid, and its resolution is what a run keeps for life."""
    written = make_archive(grid=(8, 16), times={"train": [None, None], "valid": [None]})
    settings = {"model": {"patch_size": 2, "embed_dim": 8, "num_heads": 2, "num_layers": 1}}
    config = ConfigWrapper(settings | {"data": {"data_dir": str(written.folder), "coarsen": 2}})
    prepared = prepare(config)
    assert prepared.config.model.img_size == (4, 8)
    assert prepared.cost.tokens == 8
    assert prepared.training.split.grid == prepared.validation.split.grid == (4, 8)
    climatology = fit_climatology(prepared.archive).at(None, 1)[0]
    expected = np.empty((3, 4, 8), np.float32)
    prepared.training.split.coarsening.apply(written.states().mean(axis=0), expected)  # type: ignore[union-attr]
    np.testing.assert_allclose(climatology, expected, rtol=1e-4, atol=1e-4)
    full = ConfigWrapper(settings | {"data": {"data_dir": str(written.folder)}})
    assert changed_identity(full.to_dict(), config) == {"data.coarsen": (1, 2)}
    with pytest.raises(ConfigError, match=r"img_size = \[8, 16\], but the archive has \[4, 8\] \(data.coarsen = 2\)"):
        prepare(config.replace({"model.img_size": [8, 16]}))


def test_a_value_that_is_not_finite_is_found_on_the_coarse_grid(make_archive: MakeArchive) -> None:
    import h5py

    written = make_archive(grid=(8, 16))
    with h5py.File(written.path(), "r+") as file:
        file["fields"][2, 1, 5, 9] = np.nan
    archive = open_archive(written.section(coarsen=2), ("train",))
    with pytest.raises(DataError, match=r"nan in channel 'u10' at \[2, 4\] of the coarsened grid"):
        check_finite(archive, archive.splits["train"], [2])

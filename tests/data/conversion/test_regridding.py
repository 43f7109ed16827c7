"""Another resolution: areas are conserved, linear fields stay linear, missing values follow their rule."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.data.conversion.sources import SPLIT, field, run, states, times, write
from weather.data.coarsening import plan_coarsening
from weather.data.conversion.horizontal import arrange
from weather.data.conversion.regridding import Regridder, target_grid
from weather.data.grid import latitude_edges
from weather.errors import ConfigError, DataError


def global_mean(fields: np.ndarray, latitude: np.ndarray) -> np.ndarray:
    area = np.abs(np.diff(np.sin(np.deg2rad(latitude_edges(latitude)))))
    return np.asarray((fields.mean(axis=-1, dtype=np.float64) * area).sum(axis=-1) / area.sum())


@pytest.mark.parametrize(
    ("rows", "columns", "resolution", "shape"),
    [
        (181, 360, "1.5", (121, 240)),
        (180, 360, "5.625", (32, 64)),
        (73, 144, "7x10", (7, 10)),
        (64, 128, "13x30", (13, 30)),
    ],
)
def test_area_means_keep_the_global_mean(rows: int, columns: int, resolution: str, shape: tuple[int, int]) -> None:
    latitude = np.linspace(-90, 90, rows) if rows % 2 else (np.arange(rows) + 0.5) * 180 / rows - 90
    arrangement = arrange(latitude, np.arange(columns) * 360 / columns - 180, "here")
    grid = target_grid(resolution, arrangement)
    assert grid.shape == shape
    fields = np.random.default_rng(0).standard_normal((3, rows, columns)).astype(np.float32)
    out = np.empty((3, *shape), np.float32)
    Regridder(arrangement, grid).apply(fields, out)
    np.testing.assert_allclose(global_mean(out, grid.latitude), global_mean(fields, latitude), atol=1e-6)


def test_it_is_the_coarsening_that_training_does(make_archive) -> None:  # type: ignore[no-untyped-def]
    archive = make_archive(grid=(12, 24))
    from weather.data.year_file import read_header

    header = read_header(archive.path())
    coarsening = plan_coarsening(archive.section(coarsen=3), header)
    assert coarsening is not None
    state = archive.states()[0]
    wanted, found = np.empty((2, state.shape[0], 4, 8), np.float32)
    coarsening.apply(state, wanted)
    arrangement = arrange(header.latitude, header.longitude, "here")
    grid = target_grid("4x8", arrangement)
    # The coarsening's cells begin with the first fine cell, those of a resolution are centred on 0 degrees.
    shifted = type(grid)(grid.latitude, coarsening.longitude)
    Regridder(arrangement, shifted).apply(state, found)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_finer_grids_are_interpolated(tmp_path: Path) -> None:
    time = times()
    source = write(tmp_path / "a.nc", {"t2m": field(time)})
    run(source, tmp_path / "out", *SPLIT, "--resolution", "15")
    found, _ = states(tmp_path / "out")
    coarse = field(time).values
    assert found.shape[2:] == (13, 24)
    np.testing.assert_allclose(found[:, 0, ::2, ::2], coarse, atol=1e-5)
    np.testing.assert_allclose(found[:, 0, 1::2, ::2], (coarse[:, 1:] + coarse[:, :-1]) / 2, atol=1e-5)
    np.testing.assert_allclose(found[:, 0, ::2, -1], (coarse[:, :, 0] + coarse[:, :, -1]) / 2, atol=1e-5)


def test_a_cell_with_half_its_area_missing_is_missing(tmp_path: Path) -> None:
    latitude, longitude = (np.arange(8) + 0.5) * -22.5 + 90, np.arange(16) * 22.5
    values = field(times(), latitude, longitude) * 0 + 1
    values[:, 3:, :8] = np.nan
    source = write(tmp_path / "a.nc", {"sst": values})
    with pytest.raises(DataError, match="40 of 128 values are missing, the first at latitude 11.25, longitude 0"):
        run(source, tmp_path / "refused", *SPLIT, "--resolution", "4x8")
    run(source, tmp_path / "out", *SPLIT, "--resolution", "4x8", "--fill", "-1")
    found, _ = states(tmp_path / "out")
    with h5py.File(tmp_path / "out/train/2001.h5") as file:
        np.testing.assert_allclose(file["longitude"][()], np.arange(8) * 45.0)
    assert set(np.unique(found)) == {-1.0, 1.0}
    assert (found[:, 0, 0] == 1).all() and (found[:, 0, 3, 1:4] == -1).all() and (found[:, 0, 3, 5:] == 1).all()


def test_what_cannot_be_regridded_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "a.nc", {"t2m": field(times(), np.array([60.0, 50, 40]), np.array([0.0, 10, 20]))})
    with pytest.raises(ConfigError, match="cover a region"):
        run(source, tmp_path / "out", *SPLIT, "--resolution", "5")
    for word in ("7", "abc", "0", "1x1"):
        with pytest.raises(ConfigError, match="--resolution"):
            target_grid(word, arrange(np.linspace(90, -90, 7), np.arange(12) * 30.0, "here"))

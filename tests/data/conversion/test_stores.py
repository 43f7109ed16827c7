"""Zarr stores with chunks that are not there, and archives that would be written over a source."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.data.conversion.sources import SPLIT, expected, field, run, states, times, write, xarray
from weather.errors import DataError

pytest.importorskip("zarr", reason="zarr is not installed")
TIME = times()


def store(path: Path, version: int, fill: float | None) -> Path:
    """A store of one state a chunk, whose fourth chunk is lost."""
    xarray.Dataset({"t2m": field(TIME)}).to_zarr(
        path, zarr_format=version, encoding={"t2m": {"chunks": (1, 7, 12), "_FillValue": None}}, consolidated=False
    )
    metadata = path / "t2m" / (".zarray" if version == 2 else "zarr.json")
    text = json.loads(metadata.read_text())
    metadata.write_text(json.dumps({**text, "fill_value": fill}))
    (path / "t2m" / ("3.0.0" if version == 2 else "c/3/0/0")).unlink()
    return path


def test_a_lost_chunk_is_refused_or_said(tmp_path: Path) -> None:
    """Zarr reads it as the fill value, and its writers leave out chunks that hold nothing else."""
    with pytest.raises(DataError, match="1 of 10 chunks are not in the store"):
        run(store(tmp_path / "undefined.zarr", 2, None), tmp_path / "refused", *SPLIT)
    outcome = run(store(tmp_path / "zero.zarr", 3, 0.0), tmp_path / "said", *SPLIT)
    assert "1 of 10 chunks are not in the store and are read as its fill value, 0" in outcome.text
    found, _ = states(tmp_path / "said")
    assert not found[3].any()
    np.testing.assert_array_equal(np.delete(found, 3, axis=0)[:, 0], np.delete(expected(TIME), 3, axis=0))


def test_a_lost_static_field_is_said(tmp_path: Path) -> None:
    fields = {"t2m": field(TIME), "lsm": field(TIME)[0].drop_vars("time") * 0 + 1}
    xarray.Dataset(fields).to_zarr(tmp_path / "a.zarr", zarr_format=2, consolidated=False)
    (tmp_path / "a.zarr/lsm/0.0").unlink()
    metadata = tmp_path / "a.zarr/lsm/.zarray"
    metadata.write_text(json.dumps({**json.loads(metadata.read_text()), "fill_value": None}))
    with pytest.raises(DataError, match="'lsm': 1 of 1 chunks are not in the store"):
        run(tmp_path / "a.zarr", tmp_path / "out", *SPLIT, "--static", "lsm")


def test_a_source_is_not_written_into(tmp_path: Path) -> None:
    source = tmp_path / "a.zarr"
    xarray.Dataset({"t2m": field(TIME)}).to_zarr(source, consolidated=False)
    before = sorted(source.rglob("*"))
    for place in (source, source / "archive"):
        with pytest.raises(DataError, match="a Zarr store that is a source"):
            run(source, place, *SPLIT)
    assert sorted(source.rglob("*")) == before
    file = write(tmp_path / "a.nc", {"t2m": field(TIME)})
    with pytest.raises(DataError, match="OUT is a file"):
        run(file, file, *SPLIT)


def test_of_a_shard_only_the_chunks_that_are_wanted_take_memory(tmp_path: Path) -> None:
    """The shard as a whole has 166 MB, a state of it 4 MB; it was never written, and so takes no time here."""
    zarr = pytest.importorskip("zarr", minversion="3.0", reason="zarr 3 needs Python 3.11")
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
    for name, values, units in (("time", np.arange(40) * 6.0, "hours since 2001-01-01"),
                                ("latitude", np.linspace(90, -90, 721), "degrees_north"),
                                ("longitude", np.arange(0, 360, 0.25), "degrees_east")):  # fmt: skip
        group.create_array(name, data=values, dimension_names=[name], attributes={"units": units})
    group.create_array("t2m", shape=(40, 721, 1440), chunks=(1, 721, 1440), shards=(40, 721, 1440), dtype="f4",
                       dimension_names=["time", "latitude", "longitude"])  # fmt: skip
    assert "40 states" in run(tmp_path / "a.zarr", tmp_path / "out", *SPLIT, "--dry-run", memory=900 * 2**20).text

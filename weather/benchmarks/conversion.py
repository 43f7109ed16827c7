"""A conversion's bytes per second beside a plain copy of the same bytes onto the same disk."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from weather.benchmarks.timing import share, take_turns
from weather.data.conversion.conversion import convert
from weather.data.conversion.request import Asked, Request, SplitRule
from weather.data.year_file import default_latitude, default_longitude

PIECE = 16 * 2**20  # bytes that the copy has in memory at once


def measure_conversion(
    *, source: str, states: int, levels: int, grid: tuple[int, int], workers: int, rounds: int, folder: str
) -> dict[str, Any]:
    """Rates of a conversion (planned, read, checked, averaged, written, on the disk) and of a copy (on the disk).

    Args:
        source: netcdf | netcdf-compressed | zarr | zarr-compressed; of one variable on `levels` levels and one
            without, which lie there as the archive has them.

    Returns:
        GB/s of the archive's bytes for both, the conversion's share, and how much smaller the source is.
    """
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        place = Path(temporary)
        path = place / ("source.zarr" if source.startswith("zarr") else "source.nc")
        _write(path, source, states, levels, grid)
        total = float(states * (levels + 1) * grid[0] * grid[1] * 4)
        copied = place / "copied"
        request = Request(
            sources=(str(path),), variables=(Asked("", "t", ""), Asked("", "t2m", "")), levels=(), static=(),
            split=SplitRule({}, {}, (0.8, 0.1, 0.1)), resolution="", fill="refuse", drop_missing=False, chunked=False,
            step_hours=0.0, select={}, time_units="", level_units="",
        )  # fmt: skip
        plain = place / "bytes"
        _fill(plain, path, int(total))

        def copy() -> float:
            with open(plain, "rb", buffering=0) as old, open(copied, "wb", buffering=0) as new:
                shutil.copyfileobj(old, new, PIECE)
                os.fsync(new.fileno())
            copied.unlink()
            return total

        def conversion() -> float:
            convert(request, place / "archive", workers=workers)
            shutil.rmtree(place / "archive")
            return total

        rates = take_turns({"conversion": conversion, "copy": copy}, rounds, torch.device("cpu"))
        size = sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())
    return {
        "source": source,
        "gigabytes": total / 1e9,
        "source_gigabytes": size / 1e9,
        "workers": workers,
        "gigabytes_per_second": {name: statistics.median(values) / 1e9 for name, values in rates.items()},
        "conversion_share_of_copy": share(rates, "conversion", "copy"),
    }


def _fill(path: Path, source: Path, size: int) -> None:
    """A file of as many bytes as the archive's fields: the source's own where it is one file, repeated if need be."""
    pattern = np.random.default_rng(0).integers(0, 256, PIECE, np.uint8).tobytes()
    if source.is_file():
        with open(source, "rb") as file:
            pattern = file.read(PIECE)
    with open(path, "wb") as file:
        for begin in range(0, size, len(pattern)):
            file.write(pattern[: size - begin])


def _write(path: Path, source: str, states: int, levels: int, grid: tuple[int, int]) -> None:
    """Smooth fields with noise in the last digits, like an analysis, one state a chunk where there are chunks."""
    import xarray

    generator = np.random.default_rng(0)
    latitude, longitude = default_latitude(grid[0]), default_longitude(grid[1])
    wave = np.cos(np.deg2rad(latitude))[:, None] * np.sin(np.deg2rad(longitude))[None]
    noise = generator.standard_normal((8, *grid)).astype(np.float32)
    time = np.datetime64("2001-01-01", "ns") + np.arange(states) * np.timedelta64(6, "h")
    fields = np.empty((states, levels, *grid), np.float32)
    for state in range(states):
        for level in range(levels):
            fields[state, level] = np.round(250 + 30 * wave + level + noise[(state + level) % 8], 2)
    dataset = xarray.Dataset(
        {"t": (("time", "level", "latitude", "longitude"), fields, {"units": "K"}),
         "t2m": (("time", "latitude", "longitude"), fields[:, 0], {"units": "K"})},
        {"time": time, "level": ("level", 50 * np.arange(1, levels + 1), {"units": "hPa"}),
         "latitude": latitude, "longitude": longitude},
    )  # fmt: skip
    compressed = source.endswith("-compressed")
    chunks = {"t": (1, levels, *grid), "t2m": (1, *grid)}
    if source.startswith("zarr"):
        encoding: dict[str, Any] = {name: {"chunks": chunk} for name, chunk in chunks.items()}
        if not compressed:
            for each in encoding.values():
                each["compressors"] = None
        dataset.to_zarr(path, encoding=encoding, consolidated=False)
        return
    encoding = {name: {"_FillValue": None} for name in chunks}
    if compressed:
        for name, chunk in chunks.items():
            encoding[name] |= {"zlib": True, "complevel": 1, "shuffle": True, "chunksizes": chunk}
    dataset.to_netcdf(path, engine="netcdf4", encoding=encoding)

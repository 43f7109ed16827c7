"""Blocks of one variable out of the sources: a chunk on disk is read once, and none that is not wanted."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weather.data.conversion.holdings import EXPVER, Holding
from weather.data.conversion.opening import chunks_at_once, open_source
from weather.errors import DataError

if TYPE_CHECKING:
    import xarray

OPEN_FILES = 16


class SourceReader:
    """Reads blocks of holdings; keeps the latest files open; safe to use from several threads.

    Args:
        index_folder: where cfgrib keeps its indices.
    """

    def __init__(self, index_folder: Path | None) -> None:
        self.index_folder = index_folder
        self._open: OrderedDict[str, list[xarray.Dataset]] = OrderedDict()
        self._lock = threading.Lock()
        self._users: dict[str, int] = {}

    def read(self, holding: Holding, first: int, count: int, levels: Sequence[int], expver: int = 0) -> np.ndarray:
        """Numbers as they are on disk: [count, level, source lat, source lon], perhaps a view of another order.

        Args:
            first: position of the first state; all lie in one row of the last time dimension.
            levels: indices on the level dimension; ignored where there is none.
            expver: index on ERA5's dimension of experiment versions.

        Raises:
            DataError: the file cannot be read there.
        """
        path = holding.source.path
        try:
            datasets = self._enter(holding)
            try:
                variable = datasets[holding.part].variables[holding.variable]
                if holding.source.kind == "zarr":
                    _read_at_once(chunks_at_once(holding.source))
                return _ordered(variable, holding, first, count, levels, expver)
            finally:
                self._leave(path)
        except DataError:
            raise
        except Exception as error:  # each library has its own idea of what a damaged chunk raises
            raise DataError(
                f"states {first} to {first + count - 1} cannot be read ({type(error).__name__}: "
                f"{' '.join(str(error).split())[:300]})",
                where=holding.where,
                fix="it may be damaged where it lies: leave the variable or the year out"
                if holding.source.remote
                else "the file may be damaged: fetch it again, or leave it out; the same command then goes on",
            ) from error

    def close(self) -> None:
        with self._lock:
            for datasets in self._open.values():
                for dataset in datasets:
                    dataset.close()
            self._open.clear()

    def _enter(self, holding: Holding) -> list[xarray.Dataset]:
        path = holding.source.path
        with self._lock:
            if path not in self._open:
                self._open[path] = open_source(holding.source, self.index_folder)
            self._open.move_to_end(path)
            self._users[path] = self._users.get(path, 0) + 1
            idle = [name for name in self._open if not self._users.get(name)]
            for name in idle[: max(0, len(self._open) - OPEN_FILES)]:
                for dataset in self._open.pop(name):
                    dataset.close()
            return self._open[path]

    def _leave(self, path: str) -> None:
        with self._lock:
            self._users[path] -= 1


def _read_at_once(chunks: int) -> None:
    """Zarr has one such number for all stores of a process."""
    import zarr

    zarr.config.set({"async.concurrency": chunks})


def _ordered(
    variable: xarray.Variable, holding: Holding, first: int, count: int, levels: Sequence[int], expver: int
) -> np.ndarray:
    index: dict[str, Any] = dict(holding.fixed)
    if EXPVER in holding.dims and EXPVER not in index:
        index[EXPVER] = expver
    if len(holding.time_dims) == 2:
        outer, inner = divmod(first, holding.size(holding.time_dims[1]))
        index[holding.time_dims[0]] = slice(outer, outer + 1)
        index[holding.time_dims[1]] = slice(inner, inner + count)
    elif holding.time_dims:
        index[holding.time_dims[0]] = slice(first, first + count)
    level_dim = holding.levels.dim if holding.levels is not None else None
    if level_dim is None:
        return _values(variable, holding, index)[:, None]
    pieces = [_values(variable, holding, {**index, level_dim: wanted})[:, within]
              for wanted, within in _level_reads(holding, levels)]  # fmt: skip
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=1)


def _level_reads(holding: Holding, levels: Sequence[int]) -> Iterator[tuple[Any, Any]]:
    """(what to read of the level dimension, what to keep of that), in the order of `levels`."""
    wanted = np.asarray(levels)
    steps = np.diff(wanted)
    everything = slice(None)
    if (steps == 1).all():
        yield slice(int(wanted[0]), int(wanted[-1]) + 1), everything
    elif holding.source.kind in ("zarr", "grib"):
        order = np.argsort(wanted)
        yield wanted[order], np.argsort(order)
    elif holding.chunk(holding.levels.dim) > 1 and holding.chunked:  # type: ignore[union-attr, arg-type]
        # One slab: a list of levels within chunks would decompress them again and again.
        low, high = int(wanted.min()), int(wanted.max())
        yield slice(low, high + 1), wanted - low
    else:
        for run in np.split(wanted, np.flatnonzero(steps != 1) + 1):
            yield slice(int(run[0]), int(run[-1]) + 1), everything


def _values(variable: xarray.Variable, holding: Holding, index: dict[str, Any]) -> np.ndarray:
    """The block as [time, level where there is one, lat, lon]."""
    values = np.asarray(variable.isel(index).values)
    kept = [dim for dim in holding.dims if not isinstance(index.get(dim, slice(None)), (int, np.integer))]
    level_dim = holding.levels.dim if holding.levels is not None else None
    inner = [*([level_dim] if level_dim else []), holding.latitude_dim, holding.longitude_dim]
    outer = [dim for dim in kept if dim not in inner]
    values = values.transpose([kept.index(dim) for dim in (*outer, *inner)])
    return values.reshape(-1, *values.shape[len(outer) :])


def raw_state_bytes(holding: Holding, levels: Sequence[int]) -> int:
    """Bytes in memory of one state while it is read: of all levels that share chunks with the wanted ones."""
    read = 1
    if holding.levels is not None and holding.levels.dim is not None:
        read = len(levels)
        if holding.chunked and holding.source.kind == "netcdf4" and holding.chunk(holding.levels.dim) > 1:
            read = max(levels) - min(levels) + 1
    points = holding.size(holding.latitude_dim) * holding.size(holding.longitude_dim)
    versions = holding.size(EXPVER) if EXPVER in holding.dims and EXPVER not in holding.fixed else 1
    return read * points * holding.dtype.itemsize * versions


def chunk_bytes(holding: Holding) -> int:
    """Bytes of one chunk on disk once it is decompressed; 0 where no chunk has to be read whole."""
    return int(np.prod(holding.chunks, dtype=np.int64)) * holding.dtype.itemsize if holding.chunked else 0

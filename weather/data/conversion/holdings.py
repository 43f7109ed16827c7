"""What each source holds: one entry a variable of a dataset, with its times, levels and grid. No field is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weather.data.conversion.completeness import check_messages
from weather.data.conversion.coordinates import Levels, degrees, horizontal, is_curvilinear, levels_of
from weather.data.conversion.decoding import Packing, packing_of
from weather.data.conversion.names import short_name
from weather.data.conversion.opening import groups_of, open_source
from weather.data.conversion.sources import SourceFile
from weather.data.conversion.time_stamps import STEPS, stamps_of
from weather.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    import xarray

EXPVER = "expver"
NEVER = np.array([], "datetime64[s]")


@dataclass(frozen=True)
class Holding:
    """One variable of one dataset of one file.

    Attributes:
        part: which dataset of the file.
        variable, name: as in the source, and the short name.
        shape: of `dims`.
        times: [states] datetime64[s] in the order of the file, None for a field without time.
        time_dims: up to two; a state's position counts through them as NumPy counts.
        chunks: of each dimension on disk; as long as the dimension where there are none, but 1 in time.
        chunked: a chunk has to be read as a whole.
        fixed: index on dimensions that are neither time, level nor grid.
        refusal: why it cannot be converted; raised where it is asked for, for a file has more than what is wanted.
    """

    source: SourceFile
    part: int
    variable: str
    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype
    units: str
    long_name: str
    times: np.ndarray | None = field(compare=False)
    time_dims: tuple[str, ...]
    levels: Levels | None
    latitude_dim: str
    longitude_dim: str
    latitude: np.ndarray = field(compare=False)
    longitude: np.ndarray = field(compare=False)
    chunks: tuple[int, ...]
    chunked: bool
    packing: Packing
    fixed: Mapping[str, int]
    step_type: str
    refusal: DataError | None = field(default=None, compare=False)

    @property
    def where(self) -> str:
        return f"{self.source.path}, variable '{self.variable}'"

    def size(self, dim: str) -> int:
        return self.shape[self.dims.index(dim)]

    def chunk(self, dim: str) -> int:
        return self.chunks[self.dims.index(dim)]


@dataclass(frozen=True)
class Survey:
    """All holdings, and what was noticed on the way."""

    holdings: tuple[Holding, ...]
    sources: tuple[SourceFile, ...]
    notes: tuple[str, ...]


def survey(
    sources: Sequence[SourceFile],
    *,
    select: Mapping[str, str],
    time_units: str | None = None,
    level_units: str | None = None,
    index_folder: Path | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Survey:
    """Open every source once and list what it holds.

    Args:
        select: coordinate value to take on a further dimension, such as ``{"number": "0"}``.
        time_units, level_units: of coordinates that have none.
        index_folder: where cfgrib keeps its indices.
        advance: called after each file.

    Raises:
        DataError: a file is damaged or holds no field.
        ConfigError: something is selected of a dimension that is nowhere.
    """
    holdings: list[Holding] = []
    notes: dict[str, None] = {}
    grids: dict[bytes, np.ndarray] = {}
    for source in sources:
        found = 0
        for part, dataset in enumerate(open_source(source, index_folder)):
            with dataset:
                taken = _holdings(source, part, dataset, select, time_units, level_units, notes, grids)
            holdings += taken
            found += len(taken)
        if not found:
            raise DataError("no variable has both latitude and longitude", where=source.path,
                            rule="fields lie on a grid of latitudes and longitudes of one dimension each",
                            fix=_instead(source))  # fmt: skip
        advance()
    strange = sorted(select.keys() - {dim for holding in holdings for dim in holding.dims})
    if strange:
        further = sorted({dim for holding in holdings for dim in holding.fixed})
        raise ConfigError(f"no variable has the dimension '{strange[0]}'", where="--select",
                          rule=f"further dimensions are {', '.join(further)}" if further else "there is none",
                          fix=did_you_mean(strange[0], further) or "leave it out")  # fmt: skip
    return Survey(tuple(holdings), tuple(sources), tuple(notes))


def _holdings(
    source: SourceFile,
    part: int,
    dataset: xarray.Dataset,
    select: Mapping[str, str],
    time_units: str | None,
    level_units: str | None,
    notes: dict[str, None],
    grids: dict[bytes, np.ndarray],
) -> list[Holding]:
    taken = []
    stamps = _once_for_each(stamps_of)
    for name, variable in sorted(dataset.variables.items(), key=lambda item: str(item[0])):
        dims = tuple(map(str, variable.dims))
        where = f"{source.path}, variable '{name}'"
        grid = horizontal(dataset, dims)
        if grid is None or str(name) in dims or variable.dtype.kind not in "biuf":
            if len(dims) >= 2 and is_curvilinear(dataset, dims) and str(name).lower() not in ("lat", "lon", "latitude",
                                                                                            "longitude"):  # fmt: skip
                notes[f"{where}: left out, for its grid has latitudes and longitudes of two dimensions"] = None
            continue
        refusals: list[DataError] = []
        if 0 in variable.shape:
            refusals.append(DataError(f"shape {variable.shape} is empty", where=where, fix="leave the file out"))
        if source.kind == "grib":
            _try(refusals, None, check_messages, variable, where)
        times, time_dims = _try(refusals, (NEVER, ()), stamps, dataset, dims, where, time_units) or (None, ())
        levels = _try(refusals, Levels(None, (), "unknown"), levels_of, dataset, dims, where, level_units)
        if {*STEPS} & {*time_dims} - {*select}:
            notes[f"{where}: its states are steps of forecasts, each stamped with the time that it is for"] = None
        in_order = tuple(sorted(time_dims, key=dims.index))
        if times is not None and in_order != time_dims:
            times, time_dims = times.T, in_order
        known = {*time_dims, *grid, *([levels.dim] if levels is not None and levels.dim else [])}
        fixed = {dim: _try(refusals, 0, _chosen, dataset, dim, variable.sizes[dim], select, where, notes)
                 for dim in dims if dim not in known and (dim != EXPVER or dim in select)}  # fmt: skip
        coordinates = [grids.setdefault(values.tobytes(), values) for values in
                       (_try(refusals, np.zeros(0), degrees, dataset, dim, where) for dim in grid)]  # fmt: skip
        if times is not None and select.keys() & set(time_dims):
            found = times, time_dims, fixed
            times, time_dims, fixed = _try(refusals, found, _chosen_times, dataset, *found, select, where, notes)
        chunks, chunked = _layout(variable, dims, time_dims, source)
        taken.append(
            Holding(
                source=source,
                part=part,
                variable=str(name),
                name=short_name(
                    str(name),
                    *(str(variable.attrs.get(key, "")) for key in ("standard_name", "long_name")),
                    has_levels=levels is not None,
                ),
                dims=dims,
                shape=tuple(variable.shape),
                dtype=variable.dtype,
                units=str(variable.attrs.get("units", variable.attrs.get("GRIB_units", ""))),
                long_name=str(variable.attrs.get("long_name", "")),
                times=None if times is None else np.atleast_1d(times).reshape(-1),
                time_dims=time_dims,
                levels=levels,
                latitude_dim=grid[0],
                longitude_dim=grid[1],
                latitude=coordinates[0],
                longitude=coordinates[1],
                chunks=chunks,
                chunked=chunked,
                packing=packing_of(variable, source.kind),
                fixed=fixed,
                step_type=str(variable.attrs.get("GRIB_stepType", "")),
                refusal=refusals[0] if refusals else None,
            )
        )
    return taken


def _once_for_each(stamps_of: Callable[..., Any]) -> Callable[..., Any]:
    """Decodes the times of a set of dimensions once: hundreds of variables may share a million."""
    known: dict[tuple[str, ...], Any] = {}

    def stamps(dataset: xarray.Dataset, dims: tuple[str, ...], *more: Any) -> Any:
        if dims not in known:
            known[dims] = stamps_of(dataset, dims, *more)
        return known[dims]

    return stamps


def _try(refusals: list[DataError], otherwise: Any, look: Callable[..., Any], *where: Any) -> Any:
    """What is found, or `otherwise` and a refusal more."""
    try:
        return look(*where)
    except DataError as error:
        refusals.append(error)
        return otherwise


def _instead(source: SourceFile) -> str:
    """What to do with a file without fields: often they are in a group."""
    groups = groups_of(source)
    if not groups:
        return "leave the file out, or put it on such a grid first (cdo remapbil)"
    inner = (
        f"name {source.path}/{groups[0]}" if source.kind == "zarr" else "give each its own file (ncks -G : -g GROUP)"
    )
    return f"it has groups ({', '.join(groups)}), which are not looked into: {inner}"


def _chosen(
    dataset: xarray.Dataset, dim: str, size: int, select: Mapping[str, str], where: str, notes: dict[str, None]
) -> int:
    """Index on a dimension that is neither time, level nor grid."""
    values = np.asarray(dataset.variables[dim].values) if dim in dataset.variables else np.arange(size)
    if np.issubdtype(values.dtype, np.timedelta64):
        values = values / np.timedelta64(1, "h")
    if dim in select:
        is_text = values.dtype.kind in "OSU"
        hits = np.flatnonzero(
            values.astype(str) == select[dim] if is_text else np.isclose(values, _number(select[dim]))
        )
        if hits.size:
            notes[f"{dim} = {select[dim]} was selected"] = None
            return int(hits[0])
    elif size <= 1:
        return 0
    shown = ", ".join(map(str, values[:20].tolist())) + (", ..." if size > 20 else "")
    what = f"{dim} = {select[dim]} is not there" if dim in select else f"the dimension '{dim}' has {size} entries"
    raise DataError(what, where=where, rule=f"one of them is converted: {shown}",
                    fix=f"choose: --select {dim}={values[0]}")  # fmt: skip


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan  # is none of the numbers that are there


def _chosen_times(
    dataset: xarray.Dataset,
    times: np.ndarray,
    time_dims: tuple[str, ...],
    fixed: dict[str, int],
    select: Mapping[str, str],
    where: str,
    notes: dict[str, None],
) -> tuple[np.ndarray, tuple[str, ...], dict[str, int]]:
    """Times that are left where a step is selected."""
    for dim in [dim for dim in time_dims if dim in select]:
        index = _chosen(dataset, dim, times.shape[time_dims.index(dim)], select, where, notes)
        times = np.take(times, index, axis=time_dims.index(dim))
        time_dims = tuple(other for other in time_dims if other != dim)
        fixed = {**fixed, dim: index}
    return times, time_dims, fixed


def _layout(
    variable: xarray.Variable, dims: tuple[str, ...], time_dims: tuple[str, ...], source: SourceFile
) -> tuple[tuple[int, ...], bool]:
    """Chunks on disk, and whether they have to be read whole."""
    encoding: Mapping[str, Any] = variable.encoding
    chunks = encoding.get("chunks") or encoding.get("chunksizes")  # of a shard those within it, which are read alone
    if chunks and not encoding.get("contiguous") and source.kind in ("zarr", "netcdf4"):
        return tuple(int(min(chunk, size)) for chunk, size in zip(chunks, variable.shape, strict=True)), True
    grib = source.kind == "grib"
    # One GRIB message is one level of one state.
    whole = tuple(1 if dim in time_dims or (grib and size < 1000 and dim not in dims[-2:]) else size
                  for dim, size in zip(dims, variable.shape, strict=True))  # fmt: skip
    return whole, False

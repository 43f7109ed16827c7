"""Sources opened through xarray: lazily, without dask, values as they are on disk."""

from __future__ import annotations

import contextlib
import importlib
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weather.data.conversion.completeness import check_grib, check_netcdf3
from weather.data.conversion.sources import SourceFile, reachable
from weather.errors import ConfigError, DataError

if TYPE_CHECKING:
    import xarray

#: Packed integers, fill values and times are decoded here, so that blocks are as small as they are on disk.
RAW: dict[str, Any] = {"mask_and_scale": False, "decode_times": False, "decode_coords": False, "cache": False}
NEEDS = {
    "netcdf3": ("netCDF4", "netCDF4"),
    "netcdf4": ("netCDF4", "netCDF4"),
    "zarr": ("zarr", "zarr"),
    "grib": ("cfgrib", "'cfgrib' eccodes"),
}
CHUNK_CACHE = 0  # bytes: a chunk is read once, and a cache of each variable of each open file takes gigabytes
# Of a Zarr store, read and decompressed side by side: each of them is in memory. A server needs more of them, for it
# answers each late.
CHUNKS_AT_ONCE = 4
CHUNKS_AT_ONCE_BY_URL = 32


def import_reader(kind: str) -> None:
    """Import what reads files of this kind.

    Raises:
        ConfigError: names the package and how to install it.
    """
    for module, package in (("xarray", "xarray"), NEEDS[kind]):
        try:
            found = importlib.import_module(module)
        except Exception as error:  # cfgrib raises RuntimeError where the eccodes library is missing
            raise ConfigError(
                f"the package {module} cannot be imported ({str(error).splitlines()[0]})",
                where=f"reading {kind}",
                fix=f"pip install {package}",
            ) from error
        if module == "zarr" and int(found.__version__.split(".")[0]) < 3:
            raise ConfigError(f"zarr {found.__version__} is installed", where="reading zarr",
                              rule="zarr 3 reads both formats of Zarr; it needs Python 3.11",
                              fix="pip install 'zarr>=3', with a later Python if that fails")  # fmt: skip


def open_source(source: SourceFile, index_folder: Path | None = None) -> list[xarray.Dataset]:
    """The datasets of one file; a GRIB file may hold several hypercubes.

    Args:
        source: what to open.
        index_folder: where cfgrib keeps its index of a GRIB file; None: nowhere, the file is scanned each time.

    Raises:
        ConfigError: a package is missing.
        DataError: the file is damaged.
    """
    import_reader(source.kind)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of metadata that is not consolidated, and of names in units
            return _open(source, index_folder)
    except (ConfigError, DataError):
        raise
    except Exception as error:  # each library has its own idea of what a damaged file raises
        raise DataError(
            f"the file cannot be read as {source.kind} ({type(error).__name__}: {' '.join(str(error).split())[:300]})",
            where=source.path,
            fix="it may be truncated or corrupt: fetch it again, or leave it out",
        ) from error


def groups_of(source: SourceFile) -> list[str]:
    """Names of the groups in a NetCDF 4 file or a Zarr store, which `open_source` does not look into."""
    if source.kind == "zarr":
        import zarr

        with reachable(source) as store:
            return sorted(zarr.open_group(store, mode="r").group_keys())
    if source.kind == "netcdf4":
        import netCDF4

        with netCDF4.Dataset(source.path) as file:
            return sorted(file.groups)
    return []


def _open(source: SourceFile, index_folder: Path | None) -> list[xarray.Dataset]:
    import xarray

    if source.kind == "grib":
        import cfgrib

        check_grib(Path(source.path))
        logging.getLogger("cfgrib").setLevel(logging.ERROR)
        index = "" if index_folder is None else str(index_folder / (Path(source.path).name + ".{short_hash}.idx"))
        return list(cfgrib.open_datasets(source.path, backend_kwargs={"indexpath": index, "errors": "raise"},
                                         cache=False))  # fmt: skip
    if source.kind == "zarr":
        return [_open_by_url(source) if source.remote else xarray.open_dataset(source.path, engine="zarr", chunks=None,
                                                                               **RAW)]  # fmt: skip
    if source.kind == "netcdf3":
        check_netcdf3(Path(source.path))
    import netCDF4

    netCDF4.set_chunk_cache(CHUNK_CACHE)
    # Reads uncompressed fields three times as fast as h5netcdf, and releases the interpreter lock meanwhile.
    return [xarray.open_dataset(source.path, engine="netcdf4", **RAW)]


def _open_by_url(source: SourceFile) -> xarray.Dataset:
    import xarray

    with contextlib.ExitStack() as stack:
        store = stack.enter_context(reachable(source))
        dataset = xarray.open_dataset(store, engine="zarr", chunks=None, **RAW)
        dataset.set_close(stack.pop_all().close)
    return dataset


def chunks_at_once(source: SourceFile) -> int:
    """Chunks of a file that are in memory at once while it is read."""
    if source.kind != "zarr":
        return 1
    return CHUNKS_AT_ONCE_BY_URL if source.remote else CHUNKS_AT_ONCE

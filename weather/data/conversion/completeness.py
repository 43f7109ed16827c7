"""Whether a source is whole: libraries read zeros, or fewer fields, out of a truncated file or a store with holes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from weather.data.conversion.sources import SourceFile, reachable
from weather.errors import DataError

if TYPE_CHECKING:
    import xarray

TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}
STREAMING = 2**32 - 1  # count of records that a writer has left open
ALIGNMENT = 4
LARGE_GRIB1 = 0x800000  # this bit of the length of a GRIB 1 message: the rest counts 120 bytes (ECMWF's convention)


def check_netcdf3(path: Path) -> None:
    """Refuse a classic NetCDF file that is shorter than its header says (NetCDF classic format specification).

    Raises:
        DataError: bytes that are there, bytes that should be.
    """
    size = path.stat().st_size
    try:
        with open(path, "rb") as file:
            needed = _Header(file).end
    except (struct.error, KeyError, IndexError) as error:
        raise _truncated(path, "its header is damaged or cut off") from error
    # The last variable's padding may be missing.
    if size + ALIGNMENT <= needed:
        raise _truncated(path, f"it has {size} bytes, and its header tells of {needed}")


def check_grib(path: Path) -> None:
    """Refuse a GRIB file whose last message is cut off, walking from message to message.

    Raises:
        DataError: where the message begins that is not whole.
    """
    size, begin, found = path.stat().st_size, 0, False
    with open(path, "rb") as file:
        while begin < size:
            file.seek(begin)
            head = file.read(16)
            if head[:4] != b"GRIB":
                skipped = file.read(2**16).find(b"GRIB") if begin else -1
                if skipped < 0:  # what follows the last message is of no matter
                    break
                begin += 16 + skipped
                continue
            length = _grib_length(head)
            if length is None:
                return
            file.seek(begin + length - 4)
            if begin + length > size or file.read(4) != b"7777":
                raise _truncated(path, f"the message at byte {begin} is cut off or damaged")
            begin, found = begin + length, True
    if not found:
        raise _truncated(path, "no whole message is in it")


def check_messages(variable: xarray.Variable, where: str) -> None:
    """Refuse a GRIB variable with several messages at one time, step and level that differ: cfgrib takes the first.

    Raises:
        DataError: where in the file the two messages begin.
    """
    array: Any = variable._data  # cfgrib's own array, within those by which xarray delays the reading
    while not hasattr(array, "field_id_index") and hasattr(array, "array"):
        array = array.array
    for first, *others in getattr(array, "field_id_index", {}).values():
        for other in others:
            one, two = (array.index.get_field(place)["values"] for place in (first, other))
            if not np.array_equal(one, two):
                raise DataError(
                    f"the messages at bytes {first} and {other} are of one time, step and level, and differ",
                    where=where,
                    rule="a time that is there twice holds the same fields; sums are told apart by their end alone",
                    fix="leave those out that you do not want: grib_copy -w stepRange=0-6 IN.grib OUT.grib",
                )


def absent_chunks(source: SourceFile, variable: str, missing: Sequence[float]) -> str:
    """What to say of chunks that are not in a Zarr store and are read as a value that does not count as missing.

    Writers leave out chunks that hold nothing but the fill value; a chunk that was lost looks the same. The chunks of
    a store at a URL are not counted, for to list them can take minutes and gigabytes; where there is no fill value,
    reading one refuses it.

    Args:
        missing: numbers that stand for no value, as NaN does anyway.

    Raises:
        DataError: chunks are absent, and the store gives no fill value.
    """
    import zarr

    with reachable(source) as store:
        array = zarr.open_group(store, mode="r")[variable]
    assert isinstance(array, zarr.Array)
    fill = array.fill_value
    if fill is not None and (fill != fill or float(fill) in missing):  # type: ignore[arg-type]
        return ""
    if source.remote:
        said = f"{source.path}, variable '{variable}': chunks that are not in the store"
        return "" if fill is None else f"{said} are read as its fill value, {fill:g}, and not counted"
    absent = array.nchunks - array.nchunks_initialized
    if not absent:
        return ""
    where, what = f"{source.path}, variable '{variable}'", f"{absent} of {array.nchunks} chunks are not in the store"
    if fill is None:
        raise DataError(what, where=where, rule="no writer leaves out chunks where there is no fill value",
                        fix="fetch the store again, or leave the variable out")  # fmt: skip
    return f"{where}: {what} and are read as its fill value, {fill:g}; right only if they held nothing else"


def _grib_length(head: bytes) -> int | None:
    if len(head) < 16:
        return 2**62
    if head[7] == 2:
        return int.from_bytes(head[8:16], "big")
    length = int.from_bytes(head[4:7], "big")
    return None if length & LARGE_GRIB1 else length


def _truncated(path: Path, why: str) -> DataError:
    return DataError(f"the file is truncated: {why}", where=path, fix="fetch it again, or leave it out")


class _Header:
    """Reads the header of a classic NetCDF file as far as sizes go."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.version = file.read(4)[3]
        self.wide = self.version == 5
        records = self._count()
        dimensions = [self._dimension() for _ in range(self._list())]
        self._attributes()
        variables = [self._variable(dimensions) for _ in range(self._list())]
        records = 0 if records == (2**64 - 1 if self.wide else STREAMING) else records
        ends = [begin + size for begin, size, of_records in variables if not of_records]
        moving = [(begin, size) for begin, size, of_records in variables if of_records]
        # Records of a single variable are not padded.
        step = moving[0][1] if len(moving) == 1 else sum(-(-size // ALIGNMENT) * ALIGNMENT for _, size in moving)
        if records:
            ends += [begin + (records - 1) * step + size for begin, size in moving]
        self.end = max(ends, default=0)

    def _number(self, code: str) -> int:
        return int(struct.unpack(f">{code}", self.file.read(struct.calcsize(f">{code}")))[0])

    def _count(self) -> int:
        return self._number("Q" if self.wide else "I")

    def _list(self) -> int:
        self._number("I")
        return self._count()

    def _name(self) -> None:
        length = self._count()
        self.file.seek(-(-length // ALIGNMENT) * ALIGNMENT, 1)

    def _dimension(self) -> int:
        self._name()
        return self._count()

    def _attributes(self) -> None:
        for _ in range(self._list()):
            self._name()
            kind = self._number("I")
            length = self._count() * TYPE_BYTES[kind]
            self.file.seek(-(-length // ALIGNMENT) * ALIGNMENT, 1)

    def _variable(self, dimensions: list[int]) -> tuple[int, int, bool]:
        """Its first byte, its bytes (of one record), and whether it has records."""
        self._name()
        shape = [dimensions[self._count()] for _ in range(self._count())]
        self._attributes()
        size = TYPE_BYTES[self._number("I")]
        self._count()  # its own idea of its size, which is not to be trusted beyond 4 GB
        begin = self._number("I" if self.version == 1 else "Q")
        of_records = bool(shape) and shape[0] == 0
        for length in shape[of_records:]:
            size *= length
        return begin, size, of_records

"""Numbers on disk to physical values, with NaN where there is no value: fields as float32, coordinates as float64."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray

SAME = 1e-6  # relative: a fill value is often written in less digits than the numbers that it stands among
# What the NetCDF library writes where nothing was written (netcdf.h, NC_FILL_FLOAT and NC_FILL_DOUBLE).
UNWRITTEN = 9.969209968386869e36


@dataclass(frozen=True)
class Packing:
    """How numbers on disk become physical values.

    Attributes:
        missing: numbers on disk that stand for no value.
        scale, offset: value = number * scale + offset.
        unsigned: integers are to be read without a sign.
    """

    missing: tuple[float, ...] = ()
    scale: float = 1.0
    offset: float = 0.0
    unsigned: bool = False


def packing_of(variable: xarray.Variable, kind: str) -> Packing:
    """Packing of a variable, by its attributes.

    Args:
        kind: of the source's file.
    """
    attributes, missing = variable.attrs, []
    unsigned = str(attributes.get("_Unsigned", "")).lower() == "true" and variable.dtype.kind == "i"
    for name in ("_FillValue", "missing_value"):
        for value in np.atleast_1d(np.asarray(attributes.get(name, []))).tolist():
            with contextlib.suppress(TypeError, ValueError):  # a text such as "none" stands for no number
                missing.append(float(value) % 2.0 ** (8 * variable.dtype.itemsize) if unsigned else float(value))
    if kind.startswith("netcdf") and "_FillValue" not in attributes and variable.dtype.kind == "f":
        missing.append(UNWRITTEN)
    return Packing(
        missing=tuple(sorted({value for value in missing if value == value})),  # a NaN is missing anyway
        scale=float(attributes.get("scale_factor", 1.0)),
        offset=float(attributes.get("add_offset", 0.0)),
        unsigned=unsigned,
    )


def coordinate_values(variable: xarray.Variable) -> np.ndarray:
    """Values of a coordinate, unpacked as those of a field are; as they are on disk where nothing is packed or missing.

    A 0 counts as a value: it is the fill value of every Zarr array that was given none.
    """
    values = np.asarray(variable.values)
    packing = packing_of(variable, "coordinate")
    codes = [missing for missing in packing.missing if missing]
    if (
        values.dtype.kind not in "iuf"
        or (packing.scale, packing.offset) == (1.0, 0.0)
        and not np.isin(values, codes).any()
    ):
        return values
    if packing.unsigned:
        values = values.view(f"u{values.dtype.itemsize}")
    return np.where(np.isin(values, codes), np.nan, values * packing.scale + packing.offset)


def is_plain(dtype: np.dtype, packing: Packing) -> bool:
    """Whether numbers on disk are float32 values already."""
    return dtype == np.dtype(np.float32) and dtype.isnative and packing.scale == 1.0 and packing.offset == 0.0


def decode(raw: np.ndarray, packing: Packing, out: np.ndarray) -> None:
    """Write the values of `raw` into `out` float32 of the same shape; packed numbers are scaled in float64."""
    if packing.unsigned or raw.dtype == np.bool_:
        raw = raw.view(raw.dtype.str.replace("i", "u").replace("b", "u"))
    if packing.scale == 1.0 and packing.offset == 0.0:
        np.copyto(out, raw, casting="unsafe")
    else:
        values = np.multiply(raw, packing.scale, dtype=np.float64)
        values += packing.offset
        np.copyto(out, values, casting="unsafe")
    for missing in packing.missing:
        hits = _hits(raw, missing)
        if hits is not None and hits.any():
            out[hits] = np.nan


def has_missing_codes(raw: np.ndarray, packing: Packing) -> bool:
    """Whether a number of `raw` stands for no value."""
    return any(hits is not None and bool(hits.any()) for hits in (_hits(raw, value) for value in packing.missing))


def _hits(raw: np.ndarray, missing: float) -> np.ndarray | None:
    if np.issubdtype(raw.dtype, np.floating):
        if missing == 0.0 or np.isinf(missing):
            return raw == raw.dtype.type(missing)
        if abs(missing) > np.finfo(raw.dtype).max:
            return None
        # Beyond the value itself for large ones, so that -99.9 as float64 meets -99.9 as float32.
        low, high = sorted((missing * (1 - SAME), missing * (1 + SAME)))
        # One reading tells most arrays that have none; a NaN makes the comparison false.
        if raw.size and (raw.max() < low if missing > 0 else raw.min() > high):
            return None
        return (raw >= raw.dtype.type(low)) & (raw <= raw.dtype.type(high))
    limits = np.iinfo(raw.dtype)
    if not limits.min <= missing <= limits.max or missing != int(missing):
        return None
    return raw == raw.dtype.type(int(missing))

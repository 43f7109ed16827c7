"""Numbers on disk to float32 in physical units, with NaN where there is no value."""

from __future__ import annotations

import numpy as np

from weather.data.conversion.holdings import Packing

SAME = 1e-6  # relative: a fill value is often written in less digits than the numbers that it stands among


def is_plain(dtype: np.dtype, packing: Packing) -> bool:
    """Whether numbers on disk are float32 values already."""
    return dtype == np.dtype(np.float32) and dtype.isnative and packing.scale == 1.0 and packing.offset == 0.0


def decode(raw: np.ndarray, packing: Packing, out: np.ndarray) -> None:
    """Write the values of `raw` into `out` float32 of the same shape; packed numbers are scaled in float64."""
    if packing.unsigned and np.issubdtype(raw.dtype, np.signedinteger):
        raw = raw.view(raw.dtype.str.replace("i", "u"))
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
        if missing == 0.0 or abs(missing) > np.finfo(raw.dtype).max:
            return raw == raw.dtype.type(missing) if missing == 0.0 else None
        # Beyond the value itself for large ones, so that -99.9 as float64 meets -99.9 as float32.
        low, high = sorted((missing * (1 - SAME), missing * (1 + SAME)))
        # One reading tells most arrays that have none; a NaN makes the comparison false.
        if raw.size and (raw.max() < low if missing > 0 else raw.min() > high):
            return None
        return (raw >= raw.dtype.type(low)) & (raw <= raw.dtype.type(high))
    limits = np.iinfo(raw.dtype)
    if missing != int(missing) or not limits.min <= missing <= limits.max:
        return None
    return raw == raw.dtype.type(int(missing))

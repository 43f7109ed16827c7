"""What all files of an archive have in common."""

from __future__ import annotations

import numpy as np

from weather.data.year_file import Header
from weather.errors import DataError


def check_agreement(one: Header, other: Header) -> None:
    """All files share the channels and the grid.

    Raises:
        DataError: what differs, of `other`.
    """
    if one.shape[1] != other.shape[1]:
        raise DataError(
            f"{other.shape[1]} channels, but {one.path} has {one.shape[1]}",
            where=other.where,
            rule="all files of an archive have the same channels",
        )
    if one.grid != other.grid:
        raise DataError(
            f"grid {other.grid}, but {one.path} has {one.grid}",
            where=other.where,
            rule="all files of an archive have the same grid",
        )
    if one.channels != other.channels:
        index = next(i for i, (a, b) in enumerate(zip(one.channels, other.channels, strict=True)) if a != b)
        raise DataError(
            f"channel {index} is '{other.channels[index]}', but '{one.channels[index]}' in {one.path}",
            where=other.path,
            rule="all files of an archive have the same channels in the same order",
        )
    for name in ("latitude", "longitude"):
        if not np.allclose(getattr(one, name), getattr(other, name), atol=1e-3):
            raise DataError(
                f"'{name}' differs from that of {one.path}",
                where=other.path,
                rule="all files of an archive have the same grid",
            )

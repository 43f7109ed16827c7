"""Fields that do not change in time, such as orography and the land-sea mask: ``static.h5`` beside the splits.

=================  ===================  =======================================================
name               shape                meaning
=================  ===================  =======================================================
``fields``         [field, lat, lon]    float32, physical units
``channel``        [field]              names such as ``land_sea_mask``, ``orography``
``channel_units``  [field]              physical units
``latitude``       [lat]                degrees north, either way round
``longitude``      [lon]                degrees east, as in the archive's year files
=================  ===================  =======================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from weather.data.coarsening import Coarsening
from weather.data.statistics import replace_file
from weather.data.year_file import FIELDS, Header, open_for_reading
from weather.errors import DataError

FILE = "static.h5"
COORDINATE_TOLERANCE = 1e-3  # degrees, as between the year files of an archive
DATASETS = (FIELDS, "channel", "channel_units", "latitude", "longitude")


@dataclass(frozen=True)
class StaticFields:
    """Fields on the grid that states are read on.

    Attributes:
        names, units: [F].
        fields: [F, lat, lon] float32, physical units.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    fields: np.ndarray


def write_static_fields(
    data_dir: Path,
    names: Sequence[str],
    units: Sequence[str],
    fields: np.ndarray,
    latitude: np.ndarray,
    longitude: np.ndarray,
) -> None:
    """Write ``static.h5``, in place of one that is there.

    Args:
        fields: [F, lat, lon], physical units.

    Raises:
        DataError: names are not unique, sizes do not fit, or a value is not finite.
    """
    path = Path(data_dir) / FILE
    fields = np.asarray(fields, np.float32)
    expected = (len(names), len(latitude), len(longitude))
    if fields.shape != expected or len(units) != len(names):
        raise DataError(
            f"static fields of shape {fields.shape} with {len(names)} names, {len(units)} units, {len(latitude)} "
            f"latitudes and {len(longitude)} longitudes",
            where=path,
            rule="[field, lat, lon], and a name and a unit for each field",
        )
    _check(path, tuple(names), fields, np.asarray(latitude), np.asarray(longitude))
    text = h5py.string_dtype()

    def write(partial: object) -> None:
        with h5py.File(partial, "w") as file:
            file[FIELDS] = fields
            file["channel"] = np.array(list(names), dtype=text)
            file["channel_units"] = np.array(list(units), dtype=text)
            file["latitude"] = np.asarray(latitude, np.float64)
            file["longitude"] = np.asarray(longitude, np.float64)

    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, write)


def read_static_fields(data_dir: Path, header: Header, coarsening: Coarsening | None = None) -> StaticFields:
    """Read ``static.h5`` onto the grid of an archive.

    Latitudes that run the other way are turned round, which loses nothing. Everything else must agree.

    Args:
        header: of a year file of the archive.
        coarsening: how the archive's states are coarsened (`data.coarsen`): static fields are in the same way.

    Raises:
        DataError: the file is missing or damaged, is on another grid, or holds a value that is not finite.
    """
    path = Path(data_dir) / FILE
    if not path.is_file():
        raise DataError(
            "the file is missing",
            where=path,
            rule="static fields are read from there",
            fix="weather.convert writes it from a source that has such fields; write_static_fields from your own",
        )
    with open_for_reading(path) as file:
        missing = [name for name in DATASETS if not isinstance(file.get(name), h5py.Dataset)]
        if missing:
            raise DataError(f"no dataset '{missing[0]}'", where=path, rule=f"it holds {', '.join(DATASETS)}")
        fields = np.asarray(file[FIELDS][()], np.float32)
        names, units = (tuple(file[name].asstr()[()].tolist()) for name in ("channel", "channel_units"))
        latitude, longitude = (np.asarray(file[name][()], np.float64) for name in ("latitude", "longitude"))
    if fields.shape != (len(names), len(latitude), len(longitude)) or len(units) != len(names):
        raise DataError(
            f"'{FIELDS}' has shape {fields.shape}, beside {len(names)} names, {len(units)} units, {len(latitude)} "
            f"latitudes and {len(longitude)} longitudes",
            where=path,
            rule="[field, lat, lon]",
        )
    if np.array_equal(np.sign(np.diff(latitude)), -np.sign(np.diff(header.latitude))):
        latitude, fields = latitude[::-1], fields[:, ::-1]
    for name, here, there in (
        ("latitude", latitude, header.latitude),
        ("longitude", longitude, header.longitude),
    ):
        if here.shape != there.shape or not np.allclose(here, there, atol=COORDINATE_TOLERANCE):
            raise DataError(
                f"'{name}' has {len(here)} values from {here[0]:g} to {here[-1]:g}, but {len(there)} from {there[0]:g} "
                f"to {there[-1]:g} in {header.path}",
                where=path,
                rule="static fields lie on the archive's grid",
                fix="bring them onto that grid and write them again",
            )
    fields = np.ascontiguousarray(fields)
    _check(path, names, fields, latitude, longitude)
    if coarsening is not None:
        coarse = np.empty((len(names), *coarsening.grid), np.float32)
        coarsening.apply(fields, coarse)
        fields = coarse
    return StaticFields(names, units, fields)


def _check(path: Path, names: tuple[str, ...], fields: np.ndarray, latitude: np.ndarray, longitude: np.ndarray) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"field names {', '.join(twice)} stand there twice", where=path, rule="names are unique")
    wrong = np.argwhere(~np.isfinite(fields))
    if wrong.size:
        field, row, column = wrong[0].tolist()
        raise DataError(
            f"'{names[field]}' is {fields[field, row, column]} at latitude {latitude[row]:g}, longitude "
            f"{longitude[column]:g} ({len(wrong)} such values)",
            where=path,
            rule="static fields are finite everywhere",
            fix="fill the values, such as by 0 over sea",
        )

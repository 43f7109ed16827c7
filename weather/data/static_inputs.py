"""Static fields as the model sees them beside its states: those that `data.extra_inputs` names, in standard scores."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from weather.config.data_section import DataSection
from weather.config.extra_inputs import COMPUTED_CHANNELS, TEMPORAL
from weather.data.coarsening import Coarsening
from weather.data.grid import latitude_edges
from weather.data.static_fields import FILE, read_static_fields
from weather.data.year_file import Header
from weather.errors import ConfigError, DataError, did_you_mean

STATIC_INPUTS = "static fields' digests"  # what a checkpoint calls them


@dataclass(frozen=True, eq=False)
class StaticInput:
    """One field of ``static.h5`` as the model sees it.

    Attributes:
        scores: [lat, lon] float32: less its area mean, over its area-weighted standard deviation.
        digest: of the physical values, to tell whether another archive has the same.
    """

    name: str
    scores: np.ndarray
    digest: str


def read_static_inputs(
    section: DataSection, headers: Iterable[Header], coarsening: Coarsening | None
) -> tuple[StaticInput, ...]:
    """Check `data.extra_inputs` against an archive, and read those that are static fields.

    Args:
        headers: the first of each split.

    Raises:
        ConfigError: a name that is not known, or one that needs time stamps which the archive does not have.
        DataError: ``static.h5`` cannot be used, or a field has one value only.
    """
    first, *others = headers
    for header in (first, *others):
        for name in TEMPORAL:
            if name in section.extra_inputs and header.time is None:
                raise ConfigError(
                    f"data.extra_inputs: {name}, but the archive has no time stamps",
                    where=header.path,
                    rule=f"{', '.join(TEMPORAL)} need the time of each state",
                    fix="leave it out, or write 'time' into the files",
                )
    wanted = [name for name in section.extra_inputs if name not in COMPUTED_CHANNELS]
    data_dir = first.path.parents[1]
    if not wanted:
        return ()
    if not (data_dir / FILE).is_file():
        raise _unknown(wanted[0], (), f"{data_dir} has no {FILE}")
    static = read_static_fields(data_dir, first, coarsening)
    for name in wanted:
        if name not in static.names:
            raise _unknown(name, static.names, str(data_dir / FILE))
    latitude = first.latitude if coarsening is None else coarsening.latitude
    weights = np.abs(np.diff(np.sin(np.deg2rad(latitude_edges(latitude)))))[:, None]
    inputs = []
    for name in wanted:
        field = static.fields[static.names.index(name)]
        mean = float(np.average(field.mean(axis=1, keepdims=True, dtype=np.float64), weights=weights))
        squares = ((field.astype(np.float64) - mean) ** 2).mean(axis=1, keepdims=True)
        deviation = float(np.sqrt(np.average(squares, weights=weights)))
        if deviation <= np.finfo(np.float32).eps * abs(mean):
            raise DataError(
                f"'{name}' is {mean:g} everywhere",
                where=data_dir / FILE,
                fix="leave it out of data.extra_inputs: it says nothing",
            )
        digest = hashlib.blake2b(np.ascontiguousarray(field, "<f4").tobytes(), digest_size=8).hexdigest()
        inputs.append(StaticInput(name, ((field - mean) / deviation).astype(np.float32), digest))
    return tuple(inputs)


def static_digests(inputs: Iterable[StaticInput]) -> dict[str, str]:
    """Digest of each, by name."""
    return {each.name: each.digest for each in inputs}


def _unknown(name: str, static: tuple[str, ...], where: str) -> ConfigError:
    computed = tuple(COMPUTED_CHANNELS)
    return ConfigError(
        f"data.extra_inputs: unknown input '{name}'",
        where=where,
        rule=f"computed: {', '.join(computed)}; static fields of this archive: {', '.join(static) or 'none'}",
        fix=did_you_mean(name, (*computed, *static)),
    )

"""Extra inputs of the model: what a place and a time are, beside the channels of the states (`data.extra_inputs`)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch

from weather.config.data_section import DataSection
from weather.config.extra_inputs import COMPUTED_CHANNELS, TEMPORAL
from weather.data import sun
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


class ExtraInputs:
    """Appends the extra inputs to states, on their device.

    Args:
        names: `data.extra_inputs`, of which `static` has those that are not computed.
        latitude, longitude: of the states, in degrees.
        device: where they are.
    """

    def __init__(
        self,
        names: Iterable[str],
        static: Iterable[StaticInput],
        latitude: np.ndarray,
        longitude: np.ndarray,
        device: torch.device,
    ) -> None:
        self.names, self.device = tuple(names), device
        row, column = (np.deg2rad(np.asarray(degrees, np.float64)) for degrees in (latitude, longitude))
        self.grid = (len(row), len(column))
        self.longitude = self._on_device(column[None])
        self.sin_latitude, self.cos_latitude = (
            self._on_device(np.sin(row)[:, None]),
            self._on_device(np.cos(row)[:, None]),
        )
        self.constant = {each.name: self._on_device(each.scores)[None] for each in static}
        self.constant["cos_latitude"] = self.cos_latitude[None]
        self.constant["sin_latitude"] = self.sin_latitude[None]
        self.constant["longitude"] = torch.stack([self.longitude.sin(), self.longitude.cos()])
        self.temporal: dict[str, Callable[[np.ndarray], torch.Tensor]] = {
            "time_of_day": self._time_of_day,
            "day_of_year": self._day_of_year,
            "insolation": self._insolation,
        }

    def append(self, states: torch.Tensor, time: np.ndarray | None) -> torch.Tensor:
        """States [batch, time, channel, lat, lon] with the extra inputs behind their channels.

        Args:
            time: [batch, time] datetime64[s] of the states; only temporal inputs need it.
        """
        if not self.names:
            return states
        size = states.shape[:2]
        extra = []
        for name in self.names:
            if name in self.temporal:
                assert time is not None
                fields = self.temporal[name](time)
            else:
                fields = self.constant[name]
            extra.append(fields.expand(*size, fields.shape[-3], *self.grid))
        return torch.cat([states, *extra], dim=2)

    def _on_device(self, values: np.ndarray) -> torch.Tensor:
        """As float32; from pinned memory to a GPU, so that nobody waits for it."""
        host = torch.from_numpy(np.ascontiguousarray(values, np.float32))
        if self.device.type != "cuda":
            return host.to(self.device)
        return host.pin_memory().to(self.device, non_blocking=True)

    def _time_of_day(self, time: np.ndarray) -> torch.Tensor:
        """Sine and cosine of local mean solar time, hour + longitude / 15: [batch, time, 2, 1, lon]."""
        angle = self._on_device(sun.day_angle(time)[..., None, None]) + self.longitude
        return torch.stack([angle.sin(), angle.cos()], dim=2)

    def _day_of_year(self, time: np.ndarray) -> torch.Tensor:
        """Sine and cosine of the share of the calendar year: [batch, time, 2, 1, 1]."""
        angle = sun.year_angle(time)
        return self._on_device(np.stack([np.sin(angle), np.cos(angle)], axis=2)[..., None, None])

    def _insolation(self, time: np.ndarray) -> torch.Tensor:
        """At the top of the atmosphere at this moment, over the solar constant: [batch, time, 1, lat, lon].

        (r0 / r)^2 max(0, cos Z), with cos Z = sin(latitude) sin(declination) + cos(latitude) cos(declination) cos(hour
        angle) (Iqbal 1983, eq. 1.5.1), where the hour angle is 0 at apparent noon.
        """
        year = sun.year_angle(time)
        tilt, strength = sun.declination(year), sun.distance_factor(year)
        noon = sun.day_angle(time) + sun.equation_of_time(year) - np.pi
        scalars = np.stack([noon, strength * np.sin(tilt), strength * np.cos(tilt)])[..., None, None]
        hour, along_axis, across_axis = self._on_device(scalars)
        zenith = self.sin_latitude * along_axis + self.cos_latitude * across_axis * (hour + self.longitude).cos()
        return zenith.clamp(min=0.0)[:, :, None]

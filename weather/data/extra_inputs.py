"""Extra inputs of the model: what a place and a time are, beside the channels of the states (`data.extra_inputs`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch

from weather.data import sun
from weather.data.static_inputs import StaticInput


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

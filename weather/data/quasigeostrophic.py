"""Two-layer quasi-geostrophic weather on the sphere: jets, Rossby waves and cyclones from a few hundred lines.

The atmosphere is two layers of equal mass, 1 around 250 hPa and 2 around 750 hPa, each a streamfunction psi
(u = -dpsi/dy, v = dpsi/dx). Winds carry the quasi-geostrophic potential vorticity q, and only q has to be stepped:

    q1 = lap psi1 + f             - (psi1 - psi2) / (2 L^2)         dq1/dt + v1 . grad q1 =  H
    q2 = lap psi2 + f (1 + h / D) + (psi1 - psi2) / (2 L^2)         dq2/dt + v2 . grad q2 = -H - lap psi2 / T_drag

    H = (psi1 - psi2 - S) / (2 L^2 T_heat)

with the Coriolis parameter f = 2 Omega sin(latitude), the radius of deformation L, mountains of height h and the
density scale height D. S is the shear of a jet in each hemisphere that is in thermal wind balance, stronger in winter;
the relaxation H towards it (heating and cooling) keeps the jets baroclinically unstable, surface friction (T_drag)
takes the energy out, a diffusion with the eighth power of the gradient takes out the enstrophy that cascades to the
smallest scales. The waves that grow are chaotic; no random number is drawn after the initial state.

Sources: Phillips (1951), J. Meteor. 8, and (1954), Tellus 6: the two-layer model. Marshall & Molteni (1993), J. Atmos.
Sci. 50: this class of model on the sphere, with constant L, f (1 + h / D), D = 9 km, and the scale-selective diffusion.
Held & Suarez (1994), Bull. Amer. Meteor. Soc. 75: relaxation and linear drag in the place of all physics.
Hoskins & Simmons (1975), Q. J. R. Meteorol. Soc. 101: the spectral method (`spectral_transform`). Time steps are
Adams-Bashforth of third order, float32.

How predictable it is, measured at T31 in January to April: a small error doubles in 2 days, as in the atmosphere. The
root mean square error of persistence, in standard deviations about the time mean (1.41: no resemblance left):

    lead            6 h    12 h   1 d    2 d    5 d
    z500            0.20   0.39   0.71   1.08   1.36
    v250            0.28   0.52   0.88   1.24   1.44

What is missing: moisture, the diurnal cycle, land and sea, the tropics (equatorial waves, convection), fronts, gravity
waves. Nothing is smaller than the truncation, so on fine grids the fields are smooth.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from weather.data.spectral_transform import GaussianTransform, Synthesis, recurrence_factors

RADIUS = 6.371e6  # of the Earth, m
ROTATION = 7.292e-5  # rad/s
DAY = 86400.0  # s
YEAR = 365.25  # days
GAS_CONSTANT = 287.0  # of dry air, J/(kg K)
UPPER, LOWER = 0, 1

# The climate. These give jets, eddies and error growth of about the size of the observed mid-latitudes.
DEFORMATION_RADIUS = 530e3  # L, m
SCALE_HEIGHT = 9000.0  # D, m
JET_SHEAR = 35.0  # of the wind between the layers in the annual mean equilibrium, m/s
SEASON = 0.2  # part of it that comes and goes between the hemispheres
HEATING_TIME = 12.0 * DAY  # T_heat
DRAG_TIME = 3.0 * DAY  # T_drag
DIFFUSION_TIME = 0.08 * DAY  # of the smallest scale

PRESSURE_RATIO = 3.0  # of the levels of the layers, 750 hPa and 250 hPa

# Global means at 500 hPa, which the dynamics leave open: U.S. Standard Atmosphere (1976).
MEAN_GEOPOTENTIAL = 54660.0  # m^2/s^2
MEAN_TEMPERATURE = 251.9  # K

# Every channel that can be diagnosed and its unit. The first two hold the whole state of the model.
CHANNELS = {
    "z500": "m2 s-2",  # geopotential, as in ERA5; divided by 9.81 it is a height in metres
    "t500": "K",  # mean of 250 to 750 hPa
    "u250": "m s-1",
    "v250": "m s-1",
    "u750": "m s-1",
    "v750": "m s-1",
    "vo250": "s-1",  # relative vorticity
    "vo750": "s-1",
}

# Mountains: latitude and longitude of the summit, half widths along both (degrees), height (m).
MOUNTAINS = (
    (38.0, 90.0, 14.0, 25.0, 4000.0),  # Tibet
    (45.0, 250.0, 14.0, 14.0, 2200.0),  # Rocky Mountains
    (-25.0, 290.0, 18.0, 8.0, 2000.0),  # Andes
    (-75.0, 90.0, 12.0, 70.0, 2000.0),  # Antarctica
    (75.0, 320.0, 8.0, 15.0, 2000.0),  # Greenland
)


class TwoLayerModel:
    """Independent years ("members") of weather, stepped in one batch; float32.

    Coefficients are [m, part, layer, member, n] (see `spectral_transform`), and zero where n < m.

    Args:
        seeds: one seed a member, of its initial state.
        day: days since 1 January 00:00 of the initial state; negative for the year before.
        truncation: highest wavenumber (T31: about 400 km).
        step: seconds; 1200 s at T31 is stable in jets of 170 m/s, 1800 s is not.

    Attributes:
        vorticity: quasi-geostrophic potential vorticity without its planetary part f (1 + h / D), in 1/s.
        day: days since 1 January of the present state.
    """

    def __init__(
        self,
        seeds: Sequence[Sequence[int]],
        *,
        day: float,
        truncation: int = 31,
        step: float = 1200.0,
    ) -> None:
        self.step_seconds, self.day = step, day
        self.transform = transform = GaussianTransform(truncation, RADIUS)
        n = np.arange(truncation + 1)
        self.laplacian = (-n * (n + 1) / RADIUS**2).astype(np.float32)  # [n]
        self._stretching = np.float32(0.5 / DEFORMATION_RADIUS**2)
        # The mean of a streamfunction (n = 0) moves no air, and the sum of both layers has none.
        self._invert_sum = np.divide(1.0, self.laplacian, where=n > 0, out=np.zeros(len(n), np.float32))
        self._invert_difference = 1.0 / (self.laplacian - 2.0 * self._stretching)
        scale = self.laplacian / self.laplacian[-1]
        self._diffusion = np.exp(-step / DIFFUSION_TIME * scale**4).astype(np.float32)
        coriolis = 2.0 * ROTATION * transform.sine[:, None]
        height = _mountains(transform.latitude, transform.longitude)
        planetary = np.stack(np.broadcast_arrays(coriolis, coriolis * (1.0 + height / SCALE_HEIGHT)))
        self._planetary = transform.scalar(transform.coefficients(planetary.astype(np.float32)))[:, None]
        self._shear_north, self._shear_south = (
            transform.coefficients(_jet_shear(transform, hemisphere))[:, :, None] for hemisphere in (1, -1)
        )
        # Jets in equilibrium over a lower layer at rest, so that the waves start to grow at once, out of noise.
        self.vorticity = np.stack([_noise(seed, truncation) for seed in seeds], axis=3)
        equilibrium = self._equilibrium_shear()
        self.vorticity[:, :, UPPER] += (self.laplacian - self._stretching) * equilibrium
        self.vorticity[:, :, LOWER] += self._stretching * equilibrium
        self._tendencies: list[np.ndarray] = []

    def streamfunction(self) -> np.ndarray:
        """psi in m^2/s, [m, part, layer, member, n], of the potential vorticity without its planetary part."""
        upper, lower = self.vorticity[:, :, UPPER], self.vorticity[:, :, LOWER]
        half_sum = 0.5 * self._invert_sum * (upper + lower)
        half_difference = 0.5 * self._invert_difference * (upper - lower)
        return np.stack((half_sum + half_difference, half_sum - half_difference), axis=2)

    def step(self) -> None:
        """Go on by one time step."""
        self._tendencies = [self._tendency(), *self._tendencies[:2]]
        weights = {1: (1.0,), 2: (3 / 2, -1 / 2), 3: (23 / 12, -16 / 12, 5 / 12)}[len(self._tendencies)]
        change = sum(np.float32(self.step_seconds * w) * t for w, t in zip(weights, self._tendencies, strict=True))
        self.vorticity = self._diffusion * (self.vorticity + change)
        self.day += self.step_seconds / DAY

    def _tendency(self) -> np.ndarray:
        transform = self.transform
        psi = self.streamfunction()
        potential_vorticity = transform.scalar(self.vorticity) + self._planetary
        tendency = -transform.divergence(
            transform.eastward_wind(psi) * potential_vorticity, transform.northward_wind(psi) * potential_vorticity
        )
        shear = psi[:, :, UPPER] - psi[:, :, LOWER]
        heating = self._stretching / np.float32(HEATING_TIME) * (shear - self._equilibrium_shear())
        tendency[:, :, UPPER] += heating
        tendency[:, :, LOWER] -= heating + self.laplacian / np.float32(DRAG_TIME) * psi[:, :, LOWER]
        return tendency

    def _equilibrium_shear(self) -> np.ndarray:
        """S of today, [m, part, 1, n]."""
        winter = SEASON * np.cos(2.0 * np.pi * self.day / YEAR)
        return np.float32(1.0 + winter) * self._shear_north + np.float32(1.0 - winter) * self._shear_south


class Diagnosis:
    """Physical fields of a model's state on a grid.

    Winds are those of the streamfunction, so they have no divergence; at a pole they are the limit along the meridian
    of each longitude. Geopotential follows by linear balance, temperature from the geopotential of both layers by
    hydrostatic balance.

    Args:
        channels: some of `CHANNELS`, in any order.
        latitude: [lat] degrees north; poles are allowed.
        longitude: [lon] degrees east.
        truncation: of the model.
    """

    def __init__(
        self, channels: Sequence[str], latitude: np.ndarray, longitude: np.ndarray, truncation: int = 31
    ) -> None:
        self.channels = tuple(channels)
        self.shape = (len(latitude), len(longitude))
        self._synthesis = Synthesis(truncation, latitude, longitude, RADIUS)

    def fields(self, model: TwoLayerModel, members: slice = slice(None)) -> np.ndarray:
        """Float32 [member, channel, lat, lon] of these `members`, units as in `CHANNELS`."""
        streamfunction = model.streamfunction()[..., members, :]
        geopotential = balanced_geopotential(streamfunction)
        fields = np.empty((streamfunction.shape[3], len(self.channels), *self.shape), np.float32)
        for index, channel in enumerate(self.channels):
            fields[:, index] = self._field(channel, streamfunction, geopotential, model.laplacian)
        return fields

    def _field(self, channel: str, psi: np.ndarray, geopotential: np.ndarray, laplacian: np.ndarray) -> np.ndarray:
        upper, lower = geopotential[:, :, UPPER], geopotential[:, :, LOWER]
        if channel == "z500":
            return self._synthesis.scalar(0.5 * (upper + lower)) + np.float32(MEAN_GEOPOTENTIAL)
        if channel == "t500":
            thickness = (upper - lower) / np.float32(GAS_CONSTANT * np.log(PRESSURE_RATIO))
            return self._synthesis.scalar(thickness) + np.float32(MEAN_TEMPERATURE)
        layer = psi[:, :, UPPER if channel.endswith("250") else LOWER]
        if channel.startswith("u"):
            return self._synthesis.eastward_wind(layer)
        if channel.startswith("vo"):
            return self._synthesis.scalar(laplacian * layer)
        return self._synthesis.northward_wind(layer)


def balanced_geopotential(streamfunction: np.ndarray) -> np.ndarray:
    """Geopotential phi [m, part, ..., n] in m^2/s^2 without its global mean, by linear balance.

    lap phi = div(f grad psi) (Lorenz 1960, Tellus 12), which couples every n to its two neighbours.
    """
    truncation = streamfunction.shape[-1] - 1
    epsilon = recurrence_factors(truncation).reshape(truncation + 1, *(1,) * (streamfunction.ndim - 2), truncation + 1)
    n = np.arange(1, truncation + 1)
    up, down = 2.0 * ROTATION * (n - 1) / n, 2.0 * ROTATION * (n[:-1] + 2) / (n[:-1] + 1)
    geopotential = np.zeros_like(streamfunction)
    geopotential[..., 1:] = up * epsilon[..., 1:] * streamfunction[..., :-1]
    geopotential[..., 1:-1] += down * epsilon[..., 2:] * streamfunction[..., 2:]
    return geopotential


def _mountains(latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """Height [lat, lon] in m: a Gaussian hill for each of `MOUNTAINS`."""
    height = np.zeros((len(latitude), len(longitude)))
    for summit_latitude, summit_longitude, width_latitude, width_longitude, summit in MOUNTAINS:
        north = (latitude[:, None] - summit_latitude) / width_latitude
        east = ((longitude - summit_longitude + 180.0) % 360.0 - 180.0) / width_longitude
        height += summit * np.exp(-(north**2) - east**2)
    return height


def _jet_shear(transform: GaussianTransform, hemisphere: int) -> np.ndarray:
    """psi1 - psi2 [lat, lon] in m^2/s of a jet as (sin(2 latitude) cos(latitude))^2 in one hemisphere (1: north).

    It is `JET_SHEAR` strong at 35 degrees.
    """
    latitude = np.deg2rad(transform.latitude)
    profile = (np.sin(2.0 * latitude) * np.cos(latitude)) ** 2 * 27.0 / 16.0
    jet = np.where(hemisphere * latitude > 0.0, JET_SHEAR * profile, 0.0)
    steps = 0.5 * (jet[1:] + jet[:-1]) * np.diff(latitude) * RADIUS
    shear = -np.concatenate(([0.0], np.cumsum(steps)))  # the trapezium rule for u = -dpsi/dy
    return np.broadcast_to(shear[:, None], (len(latitude), len(transform.longitude))).astype(np.float32)


def _noise(seed: Sequence[int], truncation: int) -> np.ndarray:
    """Vorticity [m, part, layer, n] in 1/s, random and about a hundredth of the Earth's."""
    count = truncation + 1
    n, m = np.arange(count), np.arange(count)[:, None]
    noise = np.random.default_rng(seed).standard_normal((count, 2, 2, count)) * 1.7e-6 / (1 + n)
    noise *= (n >= np.maximum(m, 1))[:, None, None]
    noise[0, 1] = 0.0
    return noise.astype(np.float32)

"""One forecast to look at: fields of some channels at all leads beside the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from weather.data.archive import Archive
from weather.data.loader import Samples
from weather.data.static_fields import read_static_fields
from weather.data.year_file import Header
from weather.errors import ConfigError, DataError
from weather.verification.rollout import NamedForecast, Rollout
from weather.verification.skill import state_times

LAND = "land_sea_mask"


@dataclass(frozen=True)
class Coast:
    """Share of land [lat, lon] on its own latitudes and longitudes in degrees."""

    land: np.ndarray
    latitude: np.ndarray
    longitude: np.ndarray


@dataclass(frozen=True)
class Example:
    """A forecast in physical units.

    Attributes:
        initial_time: None where the archive has no time stamps.
        valid_times: [L], or None.
        lead_hours: [L].
        channels, units: [C] those that are looked at.
        forecast, truth: [L, C, lat, lon].
        latitude, longitude: in degrees, latitude either way round.
        coast: None where the archive has no land-sea mask.
    """

    initial_time: np.datetime64 | None
    valid_times: np.ndarray | None
    lead_hours: tuple[float, ...]
    channels: tuple[str, ...]
    units: tuple[str, ...]
    forecast: np.ndarray
    truth: np.ndarray
    latitude: np.ndarray
    longitude: np.ndarray
    coast: Coast | None


def parse_time(text: str) -> np.datetime64:
    """A time written as 2020-01-31T06.

    Raises:
        ConfigError: something else is written.
    """
    try:
        time: np.datetime64 | None = np.datetime64(text, "s")
    except ValueError:
        time = None
    if time is None or np.isnat(time):
        raise ConfigError(f"'{text}' is no time", where=f"--map_time {text}", rule="such as 2020-01-31T06 (UTC)")
    return time


def position_at(samples: Samples, wanted: np.datetime64 | None) -> int:
    """The sample whose initial time is nearest to a time; the middle one without a time, or without time stamps."""
    newest = samples.starts + samples.sequence_length - 1
    times = state_times(samples, newest)
    if wanted is None or times is None:
        return len(samples) // 2
    return int(np.abs(times - wanted).argmin())


def forecast_example(
    model: NamedForecast,
    archive: Archive,
    samples: Samples,
    *,
    lead_hours: Sequence[float],
    channels: Sequence[int],
    position: int,
    device: torch.device,
    output_channels: int,
) -> Example:
    """Forecast from one initial time once more, and keep what is looked at.

    Args:
        channels: among those that are forecast.
        position: of the initial time among the samples.

    Raises:
        DataError: a state cannot be read.
    """
    hours = samples.split.step_hours * samples.dt
    steps = [round(lead / hours) for lead in lead_hours]
    rollout = Rollout(
        [model], archive, samples, steps, device=device, batch_size=1, threads=0, output_channels=output_channels
    )
    chosen, forecasts, truths, valid = list(channels), [], [], []
    try:
        for batch in rollout.batches([np.array([position])]):
            forecasts.append(batch.forecasts[model.name][0, chosen].cpu().numpy())
            truths.append(batch.truth[0, chosen].cpu().numpy())
            valid.append(batch.states[0])
    finally:
        rollout.close()
    initial = state_times(samples, samples.starts[[position]] + samples.sequence_length - 1)
    return Example(
        initial_time=None if initial is None else initial[0],
        valid_times=state_times(samples, np.array(valid)),
        lead_hours=tuple(lead_hours),
        channels=tuple(archive.channels[c] for c in chosen),
        units=tuple(archive.channel_units[c] for c in chosen),
        forecast=np.stack(forecasts),
        truth=np.stack(truths),
        latitude=archive.latitude,
        longitude=archive.longitude,
        coast=read_coast(archive.data_dir, samples.split.headers[0]),
    )


def read_coast(data_dir: Path, header: Header) -> Coast | None:
    """Land and sea of an archive; None where it has no such field, or none that can be read: a map does without.

    Args:
        header: of a year file; the coast is on its grid, however coarsely states are read.
    """
    try:
        static = read_static_fields(data_dir, header)
        return Coast(static.fields[static.names.index(LAND)], header.latitude, header.longitude)
    except (DataError, ValueError):
        return None

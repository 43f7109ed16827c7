"""Verifies forecasts of one lead against persistence and climatology, in physical units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from weather.data.archive import Archive
from weather.data.loader import BatchLoader, Normalizer, Samples, check_finite
from weather.data.order import evaluation_share
from weather.runtime.collectives import on_first_rank
from weather.runtime.ranks import Ranks
from weather.verification.climatology import Climatology
from weather.verification.metrics import ErrorSums, area_weights

#: Normalised past states [batch, time, channel, lat, lon] to the normalised next state [batch, channel, lat, lon].
Forecast = Callable[[torch.Tensor], torch.Tensor]
SOURCES = ("model", "persistence", "climatology")


@dataclass(frozen=True)
class Skill:
    """Scores of the model and the two baselines.

    Attributes:
        lead_hours: of the forecast.
        channels, units: [C] of the forecast channels.
        errors: one for each of `SOURCES`.
        samples: forecasts verified.
    """

    lead_hours: float
    channels: tuple[str, ...]
    units: tuple[str, ...]
    errors: dict[str, ErrorSums]
    samples: int

    def as_dict(self) -> dict[str, Any]:
        """{channel: {lead hours: {source: {rmse, mae, bias, acc}}}}, in physical units; None where not finite."""
        tables = {
            source: {name: getattr(errors, name) for name in ("rmse", "mae", "bias", "acc")}
            for source, errors in self.errors.items()
        }
        return {
            channel: {
                f"{self.lead_hours:g}": {
                    source: {name: _number(values[index]) for name, values in table.items()}
                    for source, table in tables.items()
                }
            }
            for index, channel in enumerate(self.channels)
        }


def _number(value: np.floating) -> float | None:
    """JSON has no word for infinity; a forecast that blew up has null for its scores."""
    return float(value) if np.isfinite(value) else None


def verify(
    forecast: Forecast,
    archive: Archive,
    samples: Samples,
    climatology: Climatology,
    *,
    device: torch.device,
    ranks: Ranks,
    batch_size: int,
    threads: int,
    output_channels: int,
) -> Skill:
    """Forecast every sample once over all ranks, and score it beside the baselines.

    Persistence says that the last input state stays as it is.

    Raises:
        DataError: a state holds a value that is not finite.
    """
    normalizer = Normalizer(archive.statistics, device)
    weights = area_weights(archive.latitude)
    errors = {source: ErrorSums(output_channels, weights, device) for source in SOURCES}
    loader = BatchLoader(samples, archive.channel_indices, batch_size=batch_size, device=device, threads=threads)
    shares = evaluation_share(len(samples), rank=ranks.rank, world_size=ranks.world_size, micro_batch_size=batch_size)
    try:
        for batch in loader.batches(share for share in shares if share.size):
            truth, last = batch.fields[:, -1, :output_channels], batch.fields[:, -2, :output_channels]
            usual_states = climatology.at(target_times(samples, batch.positions), len(batch.positions))
            usual = torch.from_numpy(usual_states[:, :output_channels]).to(device)
            with torch.no_grad():
                predicted = normalizer.restore(forecast(normalizer.normalize(batch.fields[:, :-1])).float())
            for source, field in zip(SOURCES, (predicted, last, usual), strict=True):
                errors[source].update(field, truth, usual)
    finally:
        loader.close()
    for sums in errors.values():
        sums.over_ranks()
    if not np.isfinite(errors["persistence"].mse).all():  # no model is in it, so it is the data
        on_first_rank(lambda: samples.check_finite(archive))
    if not np.isfinite(climatology.coefficients).all():
        train = archive.splits["train"]
        on_first_rank(lambda: check_finite(archive, train, range(train.states)))
    return Skill(
        lead_hours=samples.split.step_hours * samples.dt,
        channels=archive.channels[:output_channels],
        units=archive.channel_units[:output_channels],
        errors=errors,
        samples=errors["model"].samples,
    )


def target_times(samples: Samples, positions: np.ndarray) -> np.ndarray | None:
    """Valid times [batch] of the targets, or None where the archive has no time stamps."""
    if samples.split.time is None:
        return None
    return samples.split.time[[samples.states(int(position))[-1] for position in positions]]

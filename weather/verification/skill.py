"""Verifies forecasts at their leads against persistence and climatology, in physical units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from weather.data.archive import Archive
from weather.data.loader import Samples, check_finite
from weather.data.order import evaluation_share
from weather.runtime.collectives import on_first_rank, sum_over_ranks
from weather.runtime.ranks import Ranks
from weather.verification.climatology import Climatology
from weather.verification.metrics import ErrorSums, area_weights
from weather.verification.rollout import Forecast, Rollout

SOURCES = ("model", "persistence", "climatology")


@dataclass(frozen=True)
class Skill:
    """Scores of the model and the two baselines at one lead.

    Attributes:
        lead_hours: of the forecast.
        channels, units: [C] of the forecast channels.
        errors: one for each of `SOURCES`.
        samples: forecasts verified.
        blown_up: how many of them hold a value that is not finite; they count, and so their scores are not finite.
    """

    lead_hours: float
    channels: tuple[str, ...]
    units: tuple[str, ...]
    errors: dict[str, ErrorSums]
    samples: int
    blown_up: int

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


def scores_of(skills: Sequence[Skill]) -> dict[str, Any]:
    """{channel: {lead hours: {source: {rmse, mae, bias, acc}}}} of several leads."""
    tables = [skill.as_dict() for skill in skills]
    return {
        channel: {lead: scores for table in tables for lead, scores in table[channel].items()} for channel in tables[0]
    }


def verify(
    forecast: Forecast,
    archive: Archive,
    samples: Samples,
    climatology: Climatology,
    *,
    steps: Sequence[int] = (1,),
    device: torch.device,
    ranks: Ranks,
    batch_size: int,
    threads: int,
    output_channels: int,
) -> tuple[Skill, ...]:
    """Forecast from every initial time once over all ranks, and score each lead beside the baselines.

    Persistence says that the last input state stays as it is.

    Args:
        samples: one for each initial time, all of which have truth at the longest lead.
        steps: forecasts in a row that make each lead, rising.

    Raises:
        DataError: a state holds a value that is not finite.
    """
    weights = area_weights(archive.latitude)
    errors = {step: {source: ErrorSums(output_channels, weights, device) for source in SOURCES} for step in steps}
    blown_up = {step: torch.zeros((), dtype=torch.int64, device=device) for step in steps}
    rollout = Rollout(
        forecast,
        archive,
        samples,
        steps,
        device=device,
        batch_size=batch_size,
        threads=threads,
        output_channels=output_channels,
    )
    shares = evaluation_share(len(samples), rank=ranks.rank, world_size=ranks.world_size, micro_batch_size=batch_size)
    try:
        for batch in rollout.batches([share for share in shares if share.size]):
            usual_states = climatology.at(state_times(samples, batch.states), len(batch.states))
            usual = torch.from_numpy(usual_states[:, :output_channels]).to(device)
            for source, field in zip(SOURCES, (batch.forecast, batch.initial, usual), strict=True):
                errors[batch.steps][source].update(field, batch.truth, usual)
            blown_up[batch.steps] += (~torch.isfinite(batch.forecast).flatten(1).all(dim=1)).sum()
    finally:
        rollout.close()
    for step in steps:
        for sums in errors[step].values():
            sums.over_ranks()
        sum_over_ranks(blown_up[step])
        if not np.isfinite(errors[step]["persistence"].mse).all():  # no model is in it, so it is the data
            reached = Samples(samples.split, samples.starts, samples.sequence_length, samples.dt * step)
            on_first_rank(lambda reached=reached: reached.check_finite(archive))  # type: ignore[misc]
    if not np.isfinite(climatology.coefficients).all():
        train = archive.splits["train"]
        on_first_rank(lambda: check_finite(archive, train, range(train.states)))
    return tuple(
        Skill(
            lead_hours=samples.split.step_hours * samples.dt * step,
            channels=archive.channels[:output_channels],
            units=archive.channel_units[:output_channels],
            errors=errors[step],
            samples=errors[step]["model"].samples,
            blown_up=int(blown_up[step].item()),
        )
        for step in steps
    )


def state_times(samples: Samples, states: np.ndarray) -> np.ndarray | None:
    """Valid times of states, or None where the archive has no time stamps."""
    return None if samples.split.time is None else samples.split.time[states]

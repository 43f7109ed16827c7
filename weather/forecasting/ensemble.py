"""The members of a forecast: which model and which noise each has, and how they go forward together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from weather.errors import ConfigError
from weather.forecasting.perturbation import Noise
from weather.training.trained_model import TrainedModel
from weather.verification.open_rollout import Forecast, forecasts_in_a_row


@dataclass(frozen=True)
class Members:
    """The members that one model makes.

    Attributes:
        numbers: [member] of the noise that is added to the initial state; 0: none, the model's control.
    """

    model: TrainedModel
    numbers: tuple[int, ...]


def share_members(models: Sequence[TrainedModel], members: int | None, perturbed: bool) -> list[Members]:
    """Members for each model in turn, as evenly as they go; the first of each is its control.

    Args:
        members: of all models together; None: one for each.

    Raises:
        ConfigError: several members would be the same, or there are fewer of them than models.
    """
    count = len(models) if members is None else members
    if count < len(models):
        raise ConfigError(f"--members {count}", rule=f"each of the {len(models)} models makes one at least")
    if count > len(models) and not perturbed:
        raise ConfigError(
            f"--members {count} of {len(models)} model(s) without a perturbation would be the same",
            fix="add --perturbation 0.02, or name more checkpoints",
        )
    if perturbed and count == len(models):
        raise ConfigError(
            f"--perturbation with {count} member(s)",
            rule="the first member of each model is its control and is not perturbed",
            fix=f"ask for more: --members {10 * len(models)}",
        )
    shares = np.array_split(np.arange(count), len(models))
    return [Members(model, (0, *map(int, share[1:]))) for model, share in zip(models, shares, strict=True)]


def describe_members(ensemble: Sequence[Members]) -> str:
    """Which numbers are whose."""
    if len(ensemble) == 1 and len(ensemble[0].numbers) == 1:
        return ensemble[0].model.describe()
    parts, first = [], 0
    for group in ensemble:
        last = first + len(group.numbers) - 1
        numbers = f"number {first}" if last == first else f"numbers {first} to {last}"
        parts.append(f"{numbers}: {group.model.describe()}")
        first = last + 1
    return "; ".join(parts)


def go_forward(
    ensemble: Sequence[Members],
    noise: Noise | None,
    scale: torch.Tensor | None,
    fields: torch.Tensor,
    times: np.ndarray,
    *,
    steps: int,
    step_time: np.timedelta64,
    batch_size: int,
) -> Iterator[torch.Tensor]:
    """The states [initial, member, channel, lat, lon] in physical units after 1, 2, ... `steps` forecasts.

    All members are in memory at once, at one lead.

    Args:
        scale: [channel] that the noise is relative to.
        fields: [initial, time, channel, lat, lon] in physical units on the device, oldest state first.
        times: [initial, time] datetime64[s].
        batch_size: forecasts that a model makes at once.
    """
    rows = []
    for group in ensemble:
        count = len(group.numbers)
        if noise is None or scale is None:
            states = fields.repeat_interleave(count, dim=0)
        else:
            states = noise.perturbed(fields, scale, list(times[:, -1]), group.numbers)
        rows.append(
            forecasts_in_a_row(
                _in_batches(group.model.forecaster, batch_size),
                group.model.normalizer.normalize(states),
                np.repeat(times, count, axis=0),
                steps=steps,
                reached=lambda step, count=count: np.repeat(times[:, -1] + step * step_time, count),  # type: ignore[misc]
            )
        )
    for scores in zip(*rows, strict=True):
        restored = [
            group.model.normalizer.restore(each).unflatten(0, (len(fields), -1))
            for group, each in zip(ensemble, scores, strict=True)
        ]
        yield torch.cat(restored, dim=1)


def _in_batches(forecast: Forecast, size: int) -> Forecast:
    def call(states: torch.Tensor, time: np.ndarray | None) -> torch.Tensor:
        pieces = [slice(begin, begin + size) for begin in range(0, len(states), size)]
        return torch.cat([forecast(states[piece], None if time is None else time[piece]) for piece in pieces])

    return call

"""The passes of one optimizer step: forward and backward over its micro-batches."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from weather.data.loader import Batch
from weather.training.assembly import Assembly
from weather.training.profiling import Profile
from weather.training.rollout import roll_out


def accumulate_gradients(run: Assembly, batches: Iterator[Batch], profile: Profile) -> torch.Tensor:
    """Forward and backward over the micro-batches of one step; gives this rank's mean loss, a scalar on the device."""
    strategy, accumulation = run.strategy, run.plan.accumulation
    recompute = strategy.config.training.rollout_checkpointing
    total = torch.zeros((), device=strategy.device.torch_device)
    for micro in range(accumulation):
        with profile.part("data"):
            batch = next(batches)
            fields = run.normalizer.normalize(batch.fields)
            forecasts = batch.fields.shape[1] - run.prepared.training.sequence_length
            time = run.prepared.training.times(batch.positions, forecasts=forecasts, leads=batch.leads)
        with strategy.microbatch(is_last=micro == accumulation - 1):
            with profile.part("forward"):
                made = roll_out(
                    run.forecast_step,
                    strategy.module,
                    fields,
                    time,
                    run.weights,
                    leads=batch.leads,
                    recompute=recompute,
                )
                losses = [loss for _, _, loss in made]
                loss = losses[0] if len(losses) == 1 else torch.stack(losses).mean()
            with profile.part("backward"):
                strategy.backward(loss)
        total += loss.detach()
    return total / accumulation

"""Evaluation on the validation split during training."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from weather.data.loader import Batch, BatchLoader, Normalizer, Samples, Wanted
from weather.data.order import evaluation_share
from weather.runtime.collectives import on_first_rank, sum_over_ranks
from weather.strategies.base import Strategy
from weather.training.forecast_step import ForecastStep
from weather.training.leads import validated_leads
from weather.training.preparation import Prepared
from weather.training.rollout import roll_out
from weather.verification.metrics import ErrorSums, area_weights


class Validator:
    """Runs the model over the validation samples, each exactly once over all ranks.

    Args:
        prepared: the run.
        strategy: set up.
        forecast_step: how the model is called.
        normalizer: of the archive.
        weights: of the loss.
    """

    def __init__(
        self,
        prepared: Prepared,
        strategy: Strategy,
        forecast_step: ForecastStep,
        normalizer: Normalizer,
        weights: torch.Tensor,
        micro_batch: int,
    ) -> None:
        self.prepared, self.strategy, self.forecast_step = prepared, strategy, forecast_step
        self.normalizer, self.weights = normalizer, weights
        self.device = strategy.device.torch_device
        self.micro_batch = micro_batch
        self.loader = self._open(prepared.validation, 1)
        self.leads = validated_leads(prepared.config, prepared.validation)
        rollout, longest = prepared.validation_rollout, prepared.length.rollout.longest
        self.rollout = None if rollout is None else self._open(rollout, longest)

    def _open(self, samples: Samples, forecasts: int) -> BatchLoader:
        return BatchLoader(
            samples,
            self.prepared.archive.channel_indices,
            batch_size=self.micro_batch,
            device=self.device,
            threads=self.prepared.config.data.num_workers,
            forecasts=forecasts,
        )

    @torch.no_grad()
    def run(self) -> dict[str, Any]:
        """Scores of the current weights.

        Returns:
            `loss` of one forecast over `data.dt`, counted as in training; `rollout_loss`, the mean over the longest
            rollout of the schedule, where it has rollouts; with random leads `leads`, {hours: loss, errors and how many
            samples}, and `leads_loss`, the mean over them; of one forecast over `data.dt`, area-weighted `mse`, `mae`,
            `rmse` of standard scores over all channels; `standardised_rmse/CHANNEL` and `standardised_mae/CHANNEL`; and
            `mse/CHANNEL`, `mae/CHANNEL`, `rmse/CHANNEL` in the channel's physical unit.

        Raises:
            DataError: a validation state holds a value that is not finite.
        """
        archive, channels = self.prepared.archive, int(self.prepared.config.model.output_channels)
        self.strategy.module.eval()
        loss, errors = self._one_forecast(np.arange(len(self.loader.samples)), None)
        longest = self.prepared.length.rollout.longest
        rollout = {}
        if self.rollout is not None:
            everything = np.arange(len(self.rollout.samples))
            rollout = {"rollout_loss": _finite(float(self._mean_loss(self.rollout, everything, longest)))}
        others = {lead: self._one_forecast(positions, lead) for lead, positions in self.leads.items()}
        self.strategy.module.train()
        if not torch.isfinite(loss):
            on_first_rank(lambda: self.prepared.validation.check_finite(archive))
        std = archive.statistics.stds[:channels]
        record: dict[str, Any] = {
            "samples": len(self.loader.samples),
            "loss": _finite(float(loss)),
            **rollout,
            **self._over_leads({self.prepared.config.data.dt: (loss, errors), **others}),
            "mse": float(errors.mse.mean()),
            "mae": float(errors.mae.mean()),
            "rmse": float(np.sqrt(errors.mse.mean())),
        }
        for index, channel in enumerate(archive.channels[:channels]):
            record[f"standardised_rmse/{channel}"] = float(errors.rmse[index])
            record[f"standardised_mae/{channel}"] = float(errors.mae[index])
            record[f"rmse/{channel}"] = float(errors.rmse[index] * std[index])
            record[f"mae/{channel}"] = float(errors.mae[index] * std[index])
            record[f"mse/{channel}"] = float(errors.mse[index] * std[index] ** 2)
        return record

    def _one_forecast(self, positions: np.ndarray, lead: int | None) -> tuple[torch.Tensor, ErrorSums]:
        """Mean loss and errors of one forecast from some of the samples; a lead of None is `data.dt`."""
        channels = int(self.prepared.config.model.output_channels)
        errors = ErrorSums(channels, area_weights(self.prepared.archive.latitude), self.device)
        loss = self._mean_loss(self.loader, positions, 1, lead, errors)
        errors.over_ranks()
        return loss, errors

    def _over_leads(self, found: dict[int, tuple[torch.Tensor, ErrorSums]]) -> dict[str, Any]:
        """What is recorded of the leads; nothing where there is one only."""
        if len(found) == 1:
            return {}
        hours = self.prepared.validation.split.step_hours
        records = {}
        for lead, (loss, errors) in sorted(found.items()):
            mse = float(errors.mse.mean())
            records[f"{lead * hours:g}"] = {
                "samples": len(self.leads.get(lead, self.loader.samples.starts)),
                "loss": _finite(float(loss)),
                "mse": _finite(mse),
                "mae": _finite(float(errors.mae.mean())),
                "rmse": _finite(mse**0.5),
            }
        mean = torch.stack([loss for loss, _ in found.values()]).mean()
        return {"leads": records, "leads_loss": _finite(float(mean))}

    def _mean_loss(
        self,
        loader: BatchLoader,
        positions: np.ndarray,
        forecasts: int,
        lead: int | None = None,
        errors: ErrorSums | None = None,
    ) -> torch.Tensor:
        """Mean over some samples of a loader and all forecasts in a row; takes in errors, if asked."""
        total = torch.zeros((), device=self.device)
        for batch, counts in self._batches(loader, positions, forecasts, lead):
            fields = self.normalizer.normalize(batch.fields)
            time = loader.samples.times(batch.positions, forecasts=forecasts, leads=batch.leads)
            with self.strategy.device.autocast():
                for forecast, target, loss in roll_out(
                    self.forecast_step, self.strategy.module, fields, time, self.weights, leads=batch.leads
                ):
                    if counts:
                        total += loss * (len(batch.positions) / forecasts)
                    if counts and errors is not None:
                        errors.update(forecast, target)
        return sum_over_ranks(total) / len(positions)

    def _batches(
        self, loader: BatchLoader, positions: np.ndarray, forecasts: int, lead: int | None
    ) -> Iterator[tuple[Batch, bool]]:
        """This rank's batches, and whether they count.

        A rank that has run out of samples still takes part in the forward pass, with a sample that does not count.
        """
        shares = evaluation_share(
            len(positions),
            rank=self.strategy.data_rank,
            world_size=self.strategy.data_size,
            micro_batch_size=self.micro_batch,
        )
        mine = [positions[share] if share.size else positions[:1] for share in shares]
        order = (Wanted(each, forecasts, None if lead is None else np.full(len(each), lead)) for each in mine)
        for batch, share in zip(loader.batches(order), shares, strict=True):
            yield batch, bool(share.size)

    def close(self) -> None:
        self.loader.close()
        if self.rollout is not None:
            self.rollout.close()


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None

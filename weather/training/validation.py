"""Evaluation on the validation split during training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from weather.data.loader import BatchLoader, Normalizer
from weather.data.order import evaluation_share
from weather.runtime.collectives import on_first_rank, sum_over_ranks
from weather.strategies.base import Strategy
from weather.training.forecast_step import ForecastStep
from weather.training.loss import weighted_mean_squared_error
from weather.training.preparation import Prepared
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
        self.loader = BatchLoader(
            prepared.validation,
            prepared.archive.channel_indices,
            batch_size=micro_batch,
            device=self.device,
            threads=prepared.config.data.num_workers,
        )
        self.shares = evaluation_share(
            len(prepared.validation),
            rank=strategy.data_rank,
            world_size=strategy.data_size,
            micro_batch_size=micro_batch,
        )

    @torch.no_grad()
    def run(self) -> dict[str, Any]:
        """Scores of the current weights.

        Returns:
            `loss` as in training; area-weighted `mse`, `mae`, `rmse` of standard scores over all channels;
            `standardised_rmse/CHANNEL` and `standardised_mae/CHANNEL`; and `mse/CHANNEL`, `mae/CHANNEL`,
            `rmse/CHANNEL` in the channel's physical unit.

        Raises:
            DataError: a validation state holds a value that is not finite.
        """
        archive, channels = self.prepared.archive, int(self.prepared.config.model.output_channels)
        errors = ErrorSums(channels, area_weights(archive.latitude), self.device)
        loss = torch.zeros((), device=self.device)
        self.strategy.module.eval()
        # A rank that has run out of samples still takes part in the forward pass, with a sample that does not count.
        order = (positions if positions.size else np.zeros(1, np.int64) for positions in self.shares)
        for batch, share in zip(self.loader.batches(order), self.shares, strict=True):
            fields = self.normalizer.normalize(batch.fields)
            inputs, target = fields[:, :-1], fields[:, -1, :channels]
            time = self.prepared.validation.input_times(batch.positions)
            with self.strategy.device.autocast():
                forecast = self.forecast_step(self.strategy.module, inputs, time)
            if share.size:
                errors.update(forecast, target)
                loss += weighted_mean_squared_error(forecast, target, self.weights) * share.size
        self.strategy.module.train()
        errors.over_ranks()
        loss = sum_over_ranks(loss) / errors.samples
        if not torch.isfinite(loss):
            on_first_rank(lambda: self.prepared.validation.check_finite(archive))
        std = archive.statistics.stds[:channels]
        record: dict[str, Any] = {
            "samples": errors.samples,
            "loss": loss.item() if torch.isfinite(loss) else None,
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

    def close(self) -> None:
        self.loader.close()

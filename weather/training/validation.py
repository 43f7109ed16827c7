"""Evaluation on the validation split during training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from weather.data.loader import Batch, BatchLoader, Normalizer, Samples, Wanted
from weather.data.order import evaluation_share
from weather.runtime.collectives import on_first_rank, sum_over_ranks
from weather.strategies.base import Strategy
from weather.training.forecast_step import ForecastStep
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
            rollout of the schedule, where it has rollouts; of one forecast, area-weighted `mse`, `mae`, `rmse` of
            standard scores over all channels; `standardised_rmse/CHANNEL` and `standardised_mae/CHANNEL`; and
            `mse/CHANNEL`, `mae/CHANNEL`, `rmse/CHANNEL` in the channel's physical unit.

        Raises:
            DataError: a validation state holds a value that is not finite.
        """
        archive, channels = self.prepared.archive, int(self.prepared.config.model.output_channels)
        errors = ErrorSums(channels, area_weights(archive.latitude), self.device)
        self.strategy.module.eval()
        loss, samples = self._mean_loss(self.loader, 1, errors)
        rollout = {}
        if self.rollout is not None:
            longest = self.prepared.length.rollout.longest
            rollout = {"rollout_loss": _finite(self._mean_loss(self.rollout, longest)[0])}
        self.strategy.module.train()
        errors.over_ranks()
        if not torch.isfinite(loss):
            on_first_rank(lambda: self.prepared.validation.check_finite(archive))
        std = archive.statistics.stds[:channels]
        record: dict[str, Any] = {
            "samples": samples,
            "loss": _finite(loss),
            **rollout,
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

    def _mean_loss(
        self, loader: BatchLoader, forecasts: int, errors: ErrorSums | None = None
    ) -> tuple[torch.Tensor, int]:
        """Mean over all samples and forecasts in a row, and the number of samples; takes in errors, if asked."""
        total = torch.zeros((), device=self.device)
        for batch, counts in self._batches(loader, forecasts):
            fields = self.normalizer.normalize(batch.fields)
            time = loader.samples.times(batch.positions, forecasts=forecasts)
            with self.strategy.device.autocast():
                for forecast, target, loss in roll_out(
                    self.forecast_step, self.strategy.module, fields, time, self.weights
                ):
                    if counts:
                        total += loss * (len(batch.positions) / forecasts)
                    if counts and errors is not None:
                        errors.update(forecast, target)
        return sum_over_ranks(total) / len(loader.samples), len(loader.samples)

    def _batches(self, loader: BatchLoader, forecasts: int) -> Iterator[tuple[Batch, bool]]:
        """This rank's batches, and whether they count.

        A rank that has run out of samples still takes part in the forward pass, with a sample that does not count.
        """
        shares = evaluation_share(
            len(loader.samples),
            rank=self.strategy.data_rank,
            world_size=self.strategy.data_size,
            micro_batch_size=self.micro_batch,
        )
        order = (Wanted(share if share.size else np.zeros(1, np.int64), forecasts) for share in shares)
        for batch, share in zip(loader.batches(order), shares, strict=True):
            yield batch, bool(share.size)

    def close(self) -> None:
        self.loader.close()
        if self.rollout is not None:
            self.rollout.close()


def _finite(loss: torch.Tensor) -> float | None:
    return loss.item() if torch.isfinite(loss) else None

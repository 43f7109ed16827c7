"""Forecasts from forecasts: a model goes on from its own output, and each state wanted comes beside its truth.

Only the newest states of a batch are in memory, however many leads are wanted and however long they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from weather.data.archive import Archive
from weather.data.loader import BatchLoader, Normalizer, Samples
from weather.verification.open_rollout import Forecast, forecasts_in_a_row


@dataclass(frozen=True)
class ForecastStates:
    """A batch of forecasts at one lead, in physical units on the device; valid until the next is asked for.

    Attributes:
        steps: forecasts in a row that made it.
        forecast, truth: [batch, output channel, lat, lon].
        initial: the last input state, same shape.
        states: [batch] numbers of the true states, on the host.
        positions: [batch] of the initial times among the samples.
    """

    steps: int
    forecast: torch.Tensor
    truth: torch.Tensor
    initial: torch.Tensor
    states: np.ndarray
    positions: np.ndarray


class Rollout:
    """Runs a model from initial times and reads the truth of the leads that are wanted.

    Args:
        forecast: the model.
        archive: whose normalisation the model knows.
        samples: one for each initial time; `samples.dt` is what one forecast covers.
        steps: forecasts in a row at which a state is wanted, rising.
        device: where the model is.
        batch_size: initial times at once.
        threads: reader threads for initial states, and as many for truth.
        output_channels: that the model forecasts; all, where more than one forecast is made in a row.
    """

    def __init__(
        self,
        forecast: Forecast,
        archive: Archive,
        samples: Samples,
        steps: Sequence[int],
        *,
        device: torch.device,
        batch_size: int,
        threads: int,
        output_channels: int,
    ) -> None:
        self.forecast, self.samples, self.steps, self.output_channels = forecast, samples, steps, output_channels
        self.normalizer = Normalizer(archive.statistics, device)
        split, channels = samples.split, archive.channel_indices
        # A loader's sample is some states and one more after them: here the newest input, and there truth alone.
        inputs = Samples(split, samples.starts, samples.sequence_length - 1, 1)
        truth = Samples(split, np.arange(split.states), 0, 1)
        self.inputs = BatchLoader(inputs, channels, batch_size=batch_size, device=device, threads=threads)
        self.truth = BatchLoader(
            truth, channels[:output_channels], batch_size=batch_size, device=device, threads=threads
        )

    def true_states(self, positions: np.ndarray, steps: int) -> np.ndarray:
        """Numbers [batch] of the states that come `steps` forecasts after initial times."""
        newest = self.samples.starts[positions] + self.samples.sequence_length - 1
        return np.asarray(newest + steps * self.samples.dt)

    @torch.no_grad()
    def batches(self, order: Sequence[np.ndarray]) -> Iterator[ForecastStates]:
        """All wanted leads of the initial times that `order` gives, batch by batch, leads rising.

        Raises:
            DataError: a state cannot be read.
        """
        valid = self.samples.split.time  # a step of an irregular archive is not always its median
        truths = self.truth.batches(self.true_states(positions, steps) for positions in order for steps in self.steps)
        for batch in self.inputs.batches(order):
            initial = batch.fields[:, -1, : self.output_channels]
            states = self.normalizer.normalize(batch.fields)
            time = self.samples.input_times(batch.positions)
            row = forecasts_in_a_row(
                self.forecast,
                states,
                time,
                steps=self.steps[-1],
                reached=lambda step, positions=batch.positions: valid[self.true_states(positions, step)],  # type: ignore
            )
            for step, scores in enumerate(row, start=1):
                if step in self.steps:
                    truth = next(truths)
                    forecast = self.normalizer.restore(scores)
                    yield ForecastStates(step, forecast, truth.fields[:, 0], initial, truth.positions, batch.positions)

    def close(self) -> None:
        """Stop the readers and close the files."""
        self.inputs.close()
        self.truth.close()

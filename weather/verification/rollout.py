"""Forecasts from forecasts: models go on from their own output, and each state wanted comes beside its truth.

All models of a verification go forward together, so that inputs and truth are read once. Only the newest states of a
batch are in memory, once for each model, however many leads are wanted and however long they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from weather.data.archive import Archive
from weather.data.loader import Batch, BatchLoader, Normalizer, Samples
from weather.data.statistics import Statistics
from weather.verification.open_rollout import Forecast, forecasts_in_a_row


@dataclass(frozen=True)
class NamedForecast:
    """A model by the name that its scores have, and what it takes.

    Attributes:
        forecast: the model.
        statistics: that it was trained with.
        sequence_length: input states.
        dt: time steps of the archive that one forecast covers.
    """

    name: str
    forecast: Forecast
    statistics: Statistics
    sequence_length: int
    dt: int


@dataclass(frozen=True)
class ForecastStates:
    """A batch of forecasts at one lead, in physical units on the device; valid until the next is asked for.

    Attributes:
        steps: times `samples.dt` that the lead is.
        forecasts: by the model's name, each [batch, output channel, lat, lon].
        truth: same shape.
        initial: the last input state, same shape.
        states: [batch] numbers of the true states, on the host.
        positions: [batch] of the initial times among the samples.
    """

    steps: int
    forecasts: dict[str, torch.Tensor]
    truth: torch.Tensor
    initial: torch.Tensor
    states: np.ndarray
    positions: np.ndarray


class Rollout:
    """Runs models from the same initial times and reads the truth of the leads that are wanted.

    Args:
        models: with the channels and the grid of the archive, in its order.
        samples: one for each initial time, with as many input states as any model takes; `samples.dt` is the unit of
            leads.
        steps: leads at which states are wanted, times `samples.dt`, rising; each a multiple of what each model's
            forecast covers.
        device: where the models are.
        batch_size: initial times at once.
        threads: reader threads for initial states, and as many for truth.
        output_channels: that the models forecast; all, where more than one forecast is made in a row.
    """

    def __init__(
        self,
        models: Sequence[NamedForecast],
        archive: Archive,
        samples: Samples,
        steps: Sequence[int],
        *,
        device: torch.device,
        batch_size: int,
        threads: int,
        output_channels: int,
    ) -> None:
        self.samples, self.steps, self.output_channels = samples, steps, output_channels
        self.models = [(model, Normalizer(model.statistics, device)) for model in models]
        split, channels = samples.split, archive.channel_indices
        # A loader's sample is some states and one more after them: here the newest input, and there truth alone.
        inputs = Samples(split, samples.starts, samples.sequence_length - 1, 1)
        truth = Samples(split, np.arange(split.states), 0, 1)
        self.inputs = BatchLoader(inputs, channels, batch_size=batch_size, device=device, threads=threads)
        self.truth = BatchLoader(
            truth, channels[:output_channels], batch_size=batch_size, device=device, threads=threads
        )

    def true_states(self, positions: np.ndarray, steps: int) -> np.ndarray:
        """Numbers [batch] of the states that come `steps` times `samples.dt` after initial times."""
        return self._states_after(positions, steps * self.samples.dt)

    def _states_after(self, positions: np.ndarray, time_steps: int) -> np.ndarray:
        return np.asarray(self.samples.starts[positions] + self.samples.sequence_length - 1 + time_steps)

    @torch.no_grad()
    def batches(self, order: Sequence[np.ndarray]) -> Iterator[ForecastStates]:
        """All wanted leads of the initial times that `order` gives, batch by batch, leads rising.

        Raises:
            DataError: a state cannot be read.
        """
        truths = self.truth.batches(self.true_states(positions, steps) for positions in order for steps in self.steps)
        for batch in self.inputs.batches(order):
            initial = batch.fields[:, -1, : self.output_channels]
            rows = [self._forecasts(model, normalizer, batch) for model, normalizer in self.models]
            for steps, *reached in zip(self.steps, *rows, strict=True):
                forecasts = {model.name: each for (model, _), each in zip(self.models, reached, strict=True)}
                # The truth last: who waits for the disk lets the device work meanwhile.
                truth = next(truths)
                yield ForecastStates(steps, forecasts, truth.fields[:, 0], initial, truth.positions, batch.positions)

    def _forecasts(self, model: NamedForecast, normalizer: Normalizer, batch: Batch) -> Iterator[torch.Tensor]:
        """One model's forecasts at the wanted leads, in physical units, each made when it is asked for."""
        valid = self.samples.split.time  # a step of an irregular archive is not always its median
        wanted = [steps * self.samples.dt for steps in self.steps]
        times = self.samples.input_times(batch.positions)

        def reached(step: int) -> np.ndarray:
            assert valid is not None
            return np.asarray(valid[self._states_after(batch.positions, step * model.dt)])

        row = forecasts_in_a_row(
            model.forecast,
            normalizer.normalize(batch.fields[:, -model.sequence_length :]),
            None if times is None else times[:, -model.sequence_length :],
            steps=wanted[-1] // model.dt,
            reached=reached,
        )
        for step, scores in enumerate(row, start=1):
            if step * model.dt in wanted:
                yield normalizer.restore(scores)

    def close(self) -> None:
        """Stop the readers and close the files."""
        self.inputs.close()
        self.truth.close()

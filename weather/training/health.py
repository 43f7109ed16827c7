"""Watches the outcome of every step: values that are not finite, skipped steps, spikes of the loss."""

from __future__ import annotations

import math
from pathlib import Path

from weather.errors import TrainingError
from weather.runtime.collectives import on_first_rank
from weather.runtime.logs import RunLog
from weather.training.failures import describe_batch, explain_nonfinite, refuse_nonfinite_data
from weather.training.monitor import Reading
from weather.training.preparation import Prepared
from weather.training.spikes import SpikeDetector

LONGEST_OVERFLOW = 50  # steps in a row; loss scaling finds its scale within 16, for each skip halves it


class Health:
    """Ends a run that is broken, and records what is odd in one that is not.

    A skipped step has spent its samples and its FLOPs, and the learning rate, a function of the step, goes on with it:
    schedule and budget end together, and every batch is seen once. Weights and moments stay as they were, AdamW's bias
    correction does not count the step, and the record of the step and the checkpoint count it as skipped.

    Args:
        prepared: the run.
        log: takes the events.
        checkpoints: folder of the run's checkpoints.
        skipped: steps skipped before this start.
    """

    def __init__(
        self,
        prepared: Prepared,
        log: RunLog,
        checkpoints: Path,
        skipped: int,
    ) -> None:
        self.prepared, self.log, self.checkpoints = prepared, log, checkpoints
        self.skipped = skipped
        self.skips = prepared.config.training.on_nonfinite == "skip"
        self.scales = prepared.config.training.precision == "fp16"
        self.limit = prepared.config.training.max_nonfinite_steps
        self.spikes = SpikeDetector(prepared.config.training.spike_sigma)
        self._overflows = self._nonfinite = 0  # in a row
        self._forecasts = 0  # in a row, of the step seen last

    def examine(self, reading: Reading) -> None:
        """Take in the outcome of a step; all ranks call it with the same reading.

        Raises:
            DataError: the step was not finite, for its data are not.
            TrainingError: the step was not finite although its data are, or too many in a row were skipped.
        """
        loss_counts = not (self.skips and not reading.applied)
        if loss_counts and not reading.finite:
            batch = self.prepared.wanted(reading.step - 1)
            on_first_rank(lambda: explain_nonfinite(reading, self.prepared, batch, self.checkpoints))
        overflow = not reading.applied and self.scales and (math.isfinite(reading.loss) or not self.skips)
        self._overflows = self._overflows + 1 if overflow else 0
        self._nonfinite = self._nonfinite + 1 if not reading.applied and not overflow else 0
        if not reading.applied:
            self.skipped += 1
            (self._record_overflow if overflow else self._record_nonfinite)(reading)
        forecasts = self.prepared.length.rollout.forecasts(reading.step - 1)
        if forecasts != self._forecasts:
            self._forecasts = forecasts
            self.spikes.begin_anew()  # the mean over a longer rollout is larger, by design
        spike = self.spikes.see(reading.loss)
        if spike is not None:
            self.log.event("spike", step=reading.step, **spike.__dict__)
            self.log.say(
                f"warning: the loss {spike.loss:.4g} of step {reading.step} is {spike.sigmas:.1f} standard deviations "
                f"above the last steps' mean {spike.mean:.4g}"
            )

    def _record_overflow(self, reading: Reading) -> None:
        self.log.event("skipped", step=reading.step, cause="overflow of loss scaling", skipped=self.skipped)
        if self._overflows > LONGEST_OVERFLOW:
            raise _agreed(
                f"{self._overflows} steps in a row were skipped up to step {reading.step}",
                rule="fp16 gradients overflow at every loss scale, so the gradient itself is not finite",
                fix="use bf16 or fp32, or lower training.learning_rate",
            )

    def _record_nonfinite(self, reading: Reading) -> None:
        batch = self.prepared.wanted(reading.step - 1)
        on_first_rank(lambda: refuse_nonfinite_data(self.prepared, batch))
        values = {"loss": reading.loss, "grad_norm": reading.grad_norm}
        numbers = {name: value if math.isfinite(value) else None for name, value in values.items()}
        samples = describe_batch(self.prepared, batch.positions)
        self.log.event(
            "skipped",
            step=reading.step,
            cause="not finite",
            skipped=self.skipped,
            batch=batch.positions.tolist(),
            **numbers,
        )
        self.log.say(
            f"warning: step {reading.step} was left out (loss {reading.loss}, gradient norm {reading.grad_norm}): "
            f"{self._nonfinite} in a row, {self.skipped} in all; {samples}"
        )
        if self._nonfinite > self.limit:
            raise _agreed(
                f"{self._nonfinite} steps in a row were not finite up to step {reading.step}",
                rule=f"training.max_nonfinite_steps = {self.limit}; the data are finite",
                fix="lower training.learning_rate, lengthen warmup_steps, or set model.qk_norm",
            )


def _agreed(what: str, *, rule: str, fix: str) -> TrainingError:
    """An error that every rank raises alike, so that one of them reports it."""
    error = TrainingError(what, rule=rule, fix=fix)
    error.agreed = True
    return error

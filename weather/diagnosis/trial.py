"""One combination of strategy, precision and attention: a few optimizer steps, and what is measured on the way."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from weather.diagnosis.combinations import Combination
from weather.diagnosis.reference import Comparison, Reference, compare
from weather.diagnosis.subject import Subject
from weather.errors import TrainingError
from weather.runtime.collectives import sum_over_ranks
from weather.runtime.device import wait_for
from weather.runtime.ranks import Ranks
from weather.strategies import find_strategy
from weather.strategies.base import StepResult, Strategy
from weather.strategies.inspection import check_state, gradient_problems, own_slice
from weather.training.optimizer import build_optimizer

TIMED_STEPS = 3
MOST_SKIPPED = 20  # from 2^16 the loss scale may be halved down to 1


@dataclass(frozen=True)
class FirstStep:
    """What the first optimizer step shows; the same on every rank.

    Attributes:
        loss: of the global batch before the first step.
        grad_norm: as the strategy reports it.
        comparison: of the gradient with the reference; None where there is none.
        problems: of the gradient, {parameter: missing | zero | not finite}.
        unchanged: parameters that the first step left as they were.
        skipped: steps that were left out while fp16's loss scale came down.
    """

    loss: float
    grad_norm: float
    comparison: Comparison | None
    problems: dict[str, str]
    unchanged: tuple[str, ...]
    skipped: int


@dataclass(frozen=True)
class Measurement:
    """What a trial gave.

    Attributes:
        seconds: an optimizer step on this rank, the median of those after the first.
        memory_gigabytes: peak of this rank in those steps; on a CPU, of the process so far.
    """

    first: FirstStep
    seconds: float
    memory_gigabytes: float


class Trial:
    """A strategy with the subject's model, ready to step."""

    def __init__(self, subject: Subject, combination: Combination, ranks: Ranks) -> None:
        self.subject, self.ranks, self.device = subject, ranks, combination.device
        self.config = subject.settings(combination.strategy, self.device.precision, combination.attention)
        target = self.device.torch_device
        # ZeRO 3 keeps memory after its end: what others have left is not this trial's.
        self.bytes_before = torch.cuda.memory_allocated(target) if target.type == "cuda" else 0
        self.strategy: Strategy = find_strategy(combination.strategy)(self.config, self.device, ranks)
        self.states, self.truth = (each.to(target) for each in subject.samples(ranks.rank))
        self.build = lambda: subject.build(
            target.type, self.device.autocast_dtype or torch.float32, attention=combination.attention
        )

    def run(self, reference: Reference | None) -> Measurement:
        """Set up, step, time, and take down again; all ranks call it.

        Raises:
            TrainingError: a parameter is in none of the optimizer's groups or in two; weights and moments do not fit.
        """
        try:
            self.strategy.setup(self.build, lambda model: build_optimizer(model, self.config.training))
            first = self._first_step(reference)
            if self.device.torch_device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(self.device.torch_device)
            seconds = self._seconds()
            return Measurement(first, seconds, self.device.memory_gigabytes() - self.bytes_before / 1e9)
        finally:
            self.strategy.close()

    def _first_step(self, reference: Reference | None) -> FirstStep:
        skipped = 0
        while True:
            loss = self._passes()
            problems = gradient_problems(self.strategy)
            gradients = gathered(self.strategy)
            before = {name: own_slice(weight).clone() for name, weight in self.strategy.weights().items()}
            result = self._step()
            if result.applied.item():
                break
            skipped += 1
            if skipped > MOST_SKIPPED:
                raise TrainingError(f"the gradient overflows at any loss scale ({skipped} steps were left out)")
        unchanged = self._unchanged(before)
        norm = result.grad_norm.item()
        comparison = None
        if reference is not None:
            factor = 1.0
            if self.device.precision == "fp16":  # what is left of it is loss scaling
                factor = compare(gradients, reference).norm / norm if norm else 1.0
            comparison = compare(gradients, reference, factor)
        if math.isfinite(loss) and math.isfinite(norm):
            self.strategy.create_moments()  # of parameters without a gradient, which are findings of their own
            check_state(self.strategy)
        return FirstStep(loss, norm, comparison, problems, unchanged, skipped)

    def _passes(self) -> float:
        """Forward and backward; gives the loss of the global batch."""
        with self.strategy.microbatch(is_last=True):
            loss = self.subject.loss(self.strategy.module(self.states), self.truth)
            self.strategy.backward(loss)
        return sum_over_ranks(loss.detach().clone()).item() / self.ranks.world_size

    def _step(self) -> StepResult:
        training = self.config.training
        return self.strategy.step(training.learning_rate, training.gradient_clipping)

    def _unchanged(self, before: Mapping[str, torch.Tensor]) -> tuple[str, ...]:
        """Parameters of which no rank's piece has changed."""
        after = self.strategy.weights()
        target = self.device.torch_device
        changed = torch.tensor([float(not torch.equal(own_slice(after[n]), before[n])) for n in before], device=target)
        return tuple(name for name, count in zip(before, sum_over_ranks(changed).tolist(), strict=True) if not count)

    def _seconds(self) -> float:
        """Of a step: forward, backward, optimizer."""
        seconds = []
        for _ in range(TIMED_STEPS):
            wait_for(self.device.torch_device)
            began = time.perf_counter()
            self._passes()
            self._step()
            wait_for(self.device.torch_device)
            seconds.append(time.perf_counter() - began)
        return statistics.median(seconds)


def problems_of(kind: str, problems: Mapping[str, str]) -> list[str]:
    """Parameters with one kind of problem."""
    return [name for name, problem in problems.items() if problem == kind]


def gathered(strategy: Strategy) -> dict[str, torch.Tensor]:
    """Gradients whole in host memory, on the ranks that get them; all ranks call it."""
    from torch.distributed.tensor import DTensor

    pieces = {name: gradient.detach().float() for name, gradient in strategy.gradients() if gradient is not None}
    whole = {}
    for name, tensor in strategy.gather(pieces).items():
        if isinstance(tensor, DTensor):
            # Offloaded ones lie in host memory, where the devices' ranks cannot gather them.
            tensor = tensor.to(tensor.device_mesh.device_type).full_tensor()  # type: ignore[attr-defined]
        whole[name] = tensor.to("cpu", torch.float32, copy=True)
    return whole

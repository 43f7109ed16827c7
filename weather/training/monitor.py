"""What a step came to, read back one step late so that the device is never kept waiting.

Loss, gradient norm and the requests to stop or save travel together in one small tensor: one reduction a step, and
every rank reads the same decision at the same step.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from weather.runtime.collectives import sum_over_ranks
from weather.runtime.device import Device
from weather.strategies.base import StepResult


@dataclass(frozen=True)
class Requests:
    """What this rank would like to happen at the end of the step, or knows; one rank is enough."""

    stop: bool = False
    time_over: bool = False
    walltime: bool = False
    save: bool = False
    save_failed: bool = False


@dataclass(frozen=True)
class Reading:
    """A step as all ranks see it.

    Attributes:
        step: completed steps, this one counted.
        loss: mean over the global batch.
        grad_norm: before clipping.
        applied: False if the step was left out.
        requests: of any rank.
        time: when the step was made, by `time.monotonic()`; it may be read much later.
    """

    step: int
    loss: float
    grad_norm: float
    applied: bool
    requests: Requests
    time: float

    @property
    def finite(self) -> bool:
        """A skipped step may have a gradient that is not finite: that is what it was skipped for."""
        return math.isfinite(self.loss) and (math.isfinite(self.grad_norm) or not self.applied)


class Monitor:
    """Collects steps on the device and hands them out as readings, the previous one while the current one runs."""

    def __init__(self, device: Device, world_size: int) -> None:
        self.device = device.torch_device
        self.world_size = world_size
        self._pending: tuple[int, float, torch.Tensor, torch.cuda.Event | None] | None = None

    def record(self, step: int, loss: torch.Tensor, result: StepResult, requests: Requests) -> Reading | None:
        """Take in a step; gives the reading of the step before, if it was not read yet."""
        earlier = self.read()
        on_gpu = self.device.type == "cuda"
        # From pinned memory the copy waits for nothing.
        wishes = torch.tensor(dataclasses.astuple(requests), dtype=torch.float32, pin_memory=on_gpu).to(
            self.device, non_blocking=on_gpu
        )
        shared = torch.cat([(loss.detach().float() / self.world_size).reshape(1), wishes])
        sum_over_ranks(shared)
        packed = torch.cat([shared, torch.stack([result.grad_norm, result.applied]).float()])
        now = time.monotonic()
        if on_gpu:
            host = torch.empty(packed.shape, pin_memory=True)
            host.copy_(packed, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
            self._pending = (step, now, host, event)
        else:
            self._pending = (step, now, packed, None)
        return earlier

    def read(self) -> Reading | None:
        """The step that was recorded last, once; waits for the device."""
        if self._pending is None:
            return None
        step, made, packed, event = self._pending
        self._pending = None
        if event is not None:
            event.synchronize()
        loss, *wishes, grad_norm, applied = packed.tolist()
        return Reading(step, loss, grad_norm, applied > 0, Requests(*(wish > 0 for wish in wishes)), made)


class Pause:
    """A stretch of time that was no training; `seconds` is set at its end."""

    seconds = 0.0


class Stopwatch:
    """Time of the run, and of the steps since the last log line.

    Args:
        before: seconds of earlier starts of the run.
    """

    def __init__(self, before: float) -> None:
        self.before = before
        self._began = time.monotonic()
        self._paused = 0.0
        self._stretch_began = 0.0

    def total(self) -> float:
        """Seconds of the run over all restarts, evaluation and checkpoints included."""
        return self.before + time.monotonic() - self._began

    def training_seconds(self, until: float | None = None) -> float:
        """Seconds of training in this start, up to `until` (now), without evaluation and checkpoints."""
        return (time.monotonic() if until is None else until) - self._began - self._paused

    @contextlib.contextmanager
    def pause(self) -> Iterator[Pause]:
        """Around evaluation and checkpoints, which do not count for the rate of training."""
        pause = Pause()
        began = time.monotonic()
        try:
            yield pause
        finally:
            pause.seconds = time.monotonic() - began
            self._paused += pause.seconds

    def stretch(self, until: float) -> float:
        """Training seconds from the end of the last stretch to `until`."""
        end = self.training_seconds(until)
        seconds, self._stretch_began = max(1e-9, end - self._stretch_began), end
        return seconds

"""How long the parts of a step take, without waiting for the device in any step.

On CUDA and ROCm a part lies between two events of the device, which are read back when the profile ends; elsewhere the
clock of the host is read. The parts and what is left over make up the step.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence

import torch

from weather.runtime.device import Device

PARTS = ("data", "forward", "backward", "optimizer")
STEP = "step"
Mark = float | torch.cuda.Event


def range_name(part: str) -> str:
    """What a part is called in a trace."""
    return f"weather/{part}"


class StepTimes:
    """Marks begin and end of the parts of steps.

    Args:
        device: decides which clock is read.
    """

    def __init__(self, device: Device) -> None:
        self.on_gpu = device.torch_device.type == "cuda"
        self._steps: list[tuple[int, list[tuple[str, Mark, Mark]]]] = []

    @contextlib.contextmanager
    def step(self, step: int) -> Iterator[None]:
        """Around a whole step; one that fails is left out."""
        self._steps.append((step, []))
        try:
            with self.part(STEP):
                yield
        except BaseException:
            self._steps.pop()
            raise

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Around a part of a step; one that is entered several times (micro-batches) is summed."""
        began = self._mark()
        with torch.profiler.record_function(range_name(name)):
            yield
        self._steps[-1][1].append((name, began, self._mark()))

    def _mark(self) -> Mark:
        if not self.on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def read(self) -> dict[int, dict[str, float]]:
        """{step: {part: milliseconds, "step": milliseconds}}; waits for the device."""
        if self.on_gpu:
            torch.cuda.synchronize()
        read: dict[int, dict[str, float]] = {}
        for step, marks in self._steps:
            times = dict.fromkeys((*PARTS, STEP), 0.0)
            for name, began, ended in marks:
                times[name] += _milliseconds(began, ended)
            read[step] = times
        return read


def _milliseconds(began: Mark, ended: Mark) -> float:
    if isinstance(began, torch.cuda.Event):
        assert isinstance(ended, torch.cuda.Event)
        return began.elapsed_time(ended)
    assert not isinstance(ended, torch.cuda.Event)
    return 1e3 * (ended - began)


def breakdown(steps: Sequence[Mapping[str, float]], exposed: Mapping[str, float] | None) -> dict[str, float]:
    """Mean milliseconds of the parts of a step; with "rest" they add up to "step".

    Args:
        steps: as `StepTimes.read` gives them.
        exposed: milliseconds of communication in each part, and in "rest", over all these steps: it is taken out of
            its part and stands as "communication". None: communication stays in the part that it lies in.
    """
    mean = {name: sum(times[name] for times in steps) / len(steps) for name in (*PARTS, STEP)}
    parts = {name: mean[name] for name in PARTS}
    parts["rest"] = max(0.0, mean[STEP] - sum(parts.values()))
    if exposed is not None:
        # The trace and the clock see the ends of a part a little apart: never more than the part itself.
        taken = {name: min(exposed.get(name, 0.0) / len(steps), parts[name]) for name in parts}
        parts = {name: parts[name] - taken[name] for name in parts}
        parts["communication"] = sum(taken.values())
    return parts | {STEP: mean[STEP]}

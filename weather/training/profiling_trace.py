"""The trace of some steps by torch's profiler, and what it says about communication.

Communication counts as exposed where a collective is under way and nothing is computed: on a GPU no other kernel runs,
on a CPU no operator. Waiting for slower ranks is part of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, schedule

from weather.runtime.device import Device
from weather.training.profiling_times import PARTS, STEP, range_name

COLUMNS = ("self_cpu_time_total", "cpu_time_total", "self_device_time_total", "device_time_total")
OPERATORS = 40  # rows of the table of operators; the JSON has all
Interval = tuple[float, float]


class Trace:
    """Runs torch's profiler over some steps: it waits, warms up for one step, records.

    Args:
        device: its kernels are recorded beside the operators of the host.
        wait: steps before the one that warms up.
        steps: to record.
        path: of the trace for chrome://tracing or ui.perfetto.dev; a `.gz` is compressed.
    """

    def __init__(self, device: Device, *, wait: int, steps: int, path: Path) -> None:
        self.path = path
        self.on_gpu = device.torch_device.type == "cuda"
        self.recorded: profile | None = None
        activities = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * self.on_gpu]
        self._profiler = profile(
            activities=activities,
            schedule=schedule(wait=wait, warmup=1, active=steps, repeat=1),
            on_trace_ready=self._ready,
            record_shapes=True,
            acc_events=True,  # they are read after the cycle, of which there is one
        )
        self._profiler.start()

    def advance(self) -> None:
        """A step has ended, and it was not the last one to record."""
        self._profiler.step()

    def stop(self) -> None:
        """End it; the steps that were recorded until now are written."""
        self._profiler.stop()

    def _ready(self, profiler: profile) -> None:
        self.recorded = profiler
        profiler.export_chrome_trace(str(self.path))

    def operators(self) -> tuple[str, list[dict[str, Any]]]:
        """The operators that took longest, as a table, and all of them as records, microseconds in all steps."""
        assert self.recorded is not None
        averages = self.recorded.key_averages()
        order = "self_device_time_total" if self.on_gpu else "self_cpu_time_total"
        records = [{"name": average.key, "calls": average.count} for average in averages]
        for record, average in zip(records, averages, strict=True):
            record |= {f"{column}_us": getattr(average, column) for column in COLUMNS}
        records.sort(key=lambda record: -record[f"{order}_us"])
        table = averages.table(sort_by=order, row_limit=OPERATORS, max_name_column_width=80)
        return f"All that ran in the trace, also between the steps (evaluation, saving).\n\n{table}", records

    def _is_collective(self, event: Any) -> bool:
        """A kernel of NCCL or RCCL; on a CPU gloo's work, in a thread of its own."""
        return (
            event.name.startswith("nccl") and not event.is_user_annotation
            if self.on_gpu
            else event.name.startswith("gloo:")
        )

    def exposed_communication(self) -> dict[str, float]:
        """Milliseconds of exposed communication in each part of all recorded steps, and in "rest"."""
        assert self.recorded is not None
        kind = DeviceType.CUDA if self.on_gpu else DeviceType.CPU
        ranges: dict[str, list[Interval]] = {range_name(name): [] for name in (*PARTS, STEP)}
        collectives, computing = [], []
        for event in self.recorded.events():
            if event.device_type != kind:
                continue
            interval = (event.time_range.start, event.time_range.end)
            if event.name in ranges:
                ranges[event.name].append(interval)
            elif self._is_collective(event):
                collectives.append(interval)
            elif event.name.startswith("aten::") or (self.on_gpu and not event.is_user_annotation):
                computing.append(interval)
        exposed = subtract(union(collectives), union(computing))
        return {name: length / 1e3 for name, length in share_out(exposed, ranges).items()}


def share_out(exposed: Sequence[Interval], ranges: dict[str, list[Interval]]) -> dict[str, float]:
    """Length of `exposed` in each part, and in the rest of the steps; what lies between steps is left out."""
    left = intersect(exposed, union(ranges[range_name(STEP)]))
    shares = {}
    for part in PARTS:
        covered = union(ranges[range_name(part)])
        shares[part] = _length(intersect(left, covered))
        left = subtract(left, covered)
    return shares | {"rest": _length(left)}


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """The same points as disjoint intervals in order."""
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def intersect(one: Sequence[Interval], other: Sequence[Interval]) -> list[Interval]:
    """Points in both; each is disjoint and in order."""
    common, i, j = [], 0, 0
    while i < len(one) and j < len(other):
        start, end = max(one[i][0], other[j][0]), min(one[i][1], other[j][1])
        if start < end:
            common.append((start, end))
        if one[i][1] < other[j][1]:
            i += 1
        else:
            j += 1
    return common


def subtract(one: Sequence[Interval], other: Sequence[Interval]) -> list[Interval]:
    """Points of `one` that are not in `other`; each is disjoint and in order."""
    edges = [-float("inf"), *(edge for interval in other for edge in interval), float("inf")]
    return intersect(one, list(zip(edges[::2], edges[1::2], strict=True)))


def _length(intervals: Iterable[Interval]) -> float:
    return sum(end - start for start, end in intervals)

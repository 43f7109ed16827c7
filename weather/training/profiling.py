"""Profiles some steps of a run: what its modules cost, what a step is made of, its trace, its memory where that ends.

All of it goes into ``runs/<name>/profile/``. A profile is for its reader: where one of its files cannot be made, it
says so and the run goes on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from weather.runtime.device import Device
from weather.runtime.logs import RunLog
from weather.runtime.ranks import Ranks
from weather.training.preparation import Prepared, run_folder
from weather.training.profiling_modules import ModuleCosts, count_modules
from weather.training.profiling_tables import module_rows, module_table, parts_line, parts_table
from weather.training.profiling_times import StepTimes, breakdown
from weather.training.profiling_trace import Trace

ALL_RANKS_UP_TO = 8  # in larger worlds the first and the last rank are traced: one on each end of the machine
MEMORY_ENTRIES = 100_000  # allocations that are remembered, the newest
WANDB_COLUMNS = ("module", "type", "depth", "parameters", "flops", "seconds")
_NOTHING = contextlib.nullcontext()


class Profile:
    """What the training loop calls. This one is for a run without a profile and does nothing.

    Attributes:
        due: the last step to trace is over, and it is time for `report`; on all ranks at the same step.
    """

    due = False

    def begin(self, step: int, micro_batch: int) -> None:
        """Before the run allocates anything, at `step` completed steps."""

    def step(self, step: int) -> contextlib.AbstractContextManager[None]:
        """Around optimizer step `step`, from 1."""
        return _NOTHING

    def part(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Around a part of a step: data, forward, backward or optimizer."""
        return _NOTHING

    def report(self) -> None:
        """Write what was measured."""

    def memory_snapshot(self, error: Exception) -> Path | None:
        """Write what filled the memory, if that is what went wrong and it is known; gives the file."""
        return None

    def end(self) -> None:
        """The training is over, or broke: write what there is and was not written."""


def profile_of(prepared: Prepared, device: Device, ranks: Ranks, log: RunLog) -> Profile:
    """The profile that the config asks for."""
    return StepProfile(prepared, device, ranks, log) if prepared.config.profile.enabled else Profile()


def planned(start: int, steps: int, *, done: int, total: int) -> tuple[range, range]:
    """Steps to trace, and steps before them to time without a trace; step numbers from 1.

    Args:
        start, steps: of the config.
        done: steps that the run had completed when it started; the next one warms up.
        total: steps of the run.

    Returns:
        (traced, untraced): empty where there are none. The step right before the trace starts the profiler and is in
        neither.
    """
    traced = range(max(start, done + 2), min(start + steps, total + 1))
    return traced, range(max(done + 2, traced.start - 1 - steps), traced.start - 1) if traced else range(0)


class StepProfile(Profile):
    """Traces `profile.steps` steps from `profile.start_step` on.

    Args:
        prepared: the run.
        device, ranks: of this process.
        log: of the run.
    """

    def __init__(self, prepared: Prepared, device: Device, ranks: Ranks, log: RunLog) -> None:
        self.prepared, self.device, self.ranks, self.log = prepared, device, ranks, log
        self.section = prepared.config.profile
        self.folder = run_folder(prepared.config) / "profile"
        self.traced = self.untraced = range(0)
        self.times = StepTimes(device)
        self.trace: Trace | None = None
        self._timing = False
        self._last_step = 0

    def begin(self, step: int, micro_batch: int) -> None:
        """Count the modules on rank 0, and get ready to trace."""
        if self.device.torch_device.type == "cuda":
            # Stacks of C++, and of every release, would slow the steps that are timed.
            torch.cuda.memory._record_memory_history(context="alloc", stacks="python", max_entries=MEMORY_ENTRIES)
        start, total = self.section.start_step, self.prepared.length.total_steps
        self.traced, self.untraced = planned(start, self.section.steps, done=step, total=total)
        modules = self.folder / self.section.output_file
        if self.ranks.first and (self.traced or not modules.exists()):
            self._guarded("the table of modules", lambda: self._count_modules(modules, micro_batch))
        if not self.traced:
            ended = f"the run ends with step {total}" if start > total else f"this start begins at step {step}"
            last = start + self.section.steps - 1
            self._say(
                f"profile: no trace, for {ended}, and steps {start} to {last} were asked for (profile.start_step)"
            )
        elif is_traced(self.ranks):
            self._guarded("the trace", lambda: self._start_trace(step))

    def _count_modules(self, path: Path, micro_batch: int) -> None:
        costs = count_modules(self.prepared.config.model, self.device, self.ranks, batch=micro_batch)
        depth = self.section.module_depth
        self._write(path, module_table(costs, depth=depth, top=self.section.top_modules))
        self._write(path.with_suffix(".json"), _json(dataclasses.asdict(costs) | {"ratio": costs.ratio}))
        self.log.table("profile/modules", WANDB_COLUMNS, wandb_rows(costs, depth))
        self._say(
            f"profile: {costs.modules[0].flops / 1e9:.4g} GFLOPs in a forward pass of {costs.batch} samples, "
            f"{costs.ratio:.4f} of the analytic count; modules in {path}"
        )

    def _start_trace(self, step: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"trace_step_{self.traced.start}_rank_{self.ranks.rank}.json.gz"
        wait = self.traced.start - step - 2
        self.trace = Trace(self.device, wait=wait, steps=len(self.traced), path=self.folder / name)

    @contextlib.contextmanager
    def step(self, step: int) -> Iterator[None]:
        self._timing = self.trace is not None and (step in self.traced or step in self.untraced)
        with self.times.step(step) if self._timing else _NOTHING:
            yield
        self._timing = False
        self._last_step = step
        self.due = bool(self.traced) and step + 1 == self.traced.stop
        if self.trace is not None and not self.due:  # to advance from the last step would write the trace
            self._guarded("the trace", self.trace.advance)

    def part(self, name: str) -> contextlib.AbstractContextManager[None]:
        return self.times.part(name) if self._timing else _NOTHING

    def report(self) -> None:
        trace, self.trace, self.due = self.trace, None, False
        if trace is None:
            return
        self._guarded("the trace", trace.stop)
        if trace.recorded is not None and self.ranks.first and self._last_step in self.traced:
            self._guarded("the tables", lambda: self._write_tables(trace))

    def _write_tables(self, trace: Trace) -> None:
        times = self.times.read()
        steps, untraced = ([s for s in times if s in planned] for planned in (self.traced, self.untraced))
        exposed = trace.exposed_communication()
        facts: dict[str, Any] = {
            "steps": steps,
            "untraced_steps": untraced,
            "step_ms": {str(s): times[s]["step"] for s in times},
            "traced_ms": breakdown([times[s] for s in steps], exposed),
            "untraced_ms": breakdown([times[s] for s in untraced], None) if untraced else {},
            "communication_ms": {name: total / len(steps) for name, total in exposed.items()},
            "clock": "events of the device" if self.times.on_gpu else "the host's",
            "trace": str(trace.path),
        }
        name = f"step_{self.traced.start}"
        self._write(self.folder / f"parts_{name}.txt", parts_table(facts))
        self._write(self.folder / f"parts_{name}.json", _json(facts))
        table, operators = trace.operators()
        self._write(self.folder / f"operators_{name}.txt", table)
        self._write(self.folder / f"operators_{name}.json", _json(operators))
        self.log.event("profile", step=steps[-1], **facts)
        self._say(f"profile of steps {steps[0]} to {steps[-1]}, in ms: {parts_line(facts['traced_ms'])}")
        if untraced:
            self._say(f"profile: without the trace a step took {facts['untraced_ms']['step']:.2f} ms")
        self._say(f"profile: tables and trace are in {self.folder} (open the trace in ui.perfetto.dev)")

    def memory_snapshot(self, error: Exception) -> Path | None:
        if not isinstance(error, torch.OutOfMemoryError) or self.device.torch_device.type != "cuda":
            return None
        path = self.folder / f"memory_rank_{self.ranks.rank}.pickle"

        def dump() -> None:
            self.folder.mkdir(parents=True, exist_ok=True)
            torch.cuda.memory._dump_snapshot(str(path))

        return path if self._guarded("the snapshot of the memory", dump) else None

    def end(self) -> None:
        if self.trace is not None:
            self.report()
            if self._last_step not in self.traced:
                self._say(f"profile: no trace, for the run stopped before step {self.traced.start}")
        if self.device.torch_device.type == "cuda":
            torch.cuda.memory._record_memory_history(enabled=None)

    def _say(self, text: str) -> None:
        self.log.say(text)

    def _write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")

    def _guarded(self, what: str, action: Callable[[], None]) -> bool:
        """Do a part of the profile; a profiler or a disk that fails must not end a training that goes well."""
        try:
            action()
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            print(f"warning: profile: rank {self.ranks.rank} cannot make {what} ({reason})", file=sys.stderr)
            return False
        return True


def is_traced(ranks: Ranks) -> bool:
    """Every rank of a small world; of a large one the first and the last."""
    return ranks.world_size <= ALL_RANKS_UP_TO or ranks.rank in (0, ranks.world_size - 1)


def wandb_rows(costs: ModuleCosts, depth: int) -> list[list[Any]]:
    """Rows of `WANDB_COLUMNS` for the modules of the table."""
    shown = [module for module, _ in module_rows(costs, depth)]
    return [[m.name or "model", m.kind, m.depth, m.parameters, m.flops, m.seconds] for m in shown]


def _json(value: Any) -> str:
    return json.dumps(value, indent=1)

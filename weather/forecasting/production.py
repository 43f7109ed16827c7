"""Makes forecasts and writes them: each initial time once over all ranks, each lead as soon as it is there."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from weather.data.archive import Archive
from weather.data.reader import StateReader
from weather.errors import DataError
from weather.forecasting.ensemble import Members, go_forward
from weather.forecasting.initial_times import InitialState
from weather.forecasting.output import Output
from weather.forecasting.perturbation import Noise
from weather.forecasting.stores import Store, file_attributes
from weather.runtime.collectives import gather_from_ranks, on_first_rank
from weather.runtime.progress import counting_bar
from weather.runtime.ranks import Ranks

BLOWN_UP = "blown_up"  # attribute of the file that says in JSON which of its forecasts are not finite
MOST_NAMED = 10  # of these


@dataclass(frozen=True)
class Outcome:
    """What became of a forecast file.

    Attributes:
        complete_before: whether nothing was left to do.
        blown_up: forecasts that are not finite; named: a line for each of the first of them.
    """

    complete_before: bool
    blown_up: int
    named: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """Forecasts to be made.

    Attributes:
        initial_states: [T] one for each initial time.
        steps: [L] forecasts in a row that make each lead, rising.
        step_time: what one forecast covers.
        scale: [channel] that noise is relative to.
        batch_size: forecasts at once.
    """

    archive: Archive
    ensemble: Sequence[Members]
    initial_states: Sequence[InitialState]
    steps: Sequence[int]
    step_time: np.timedelta64
    noise: Noise | None
    scale: torch.Tensor | None
    batch_size: int

    @property
    def members(self) -> int:
        return sum(len(group.numbers) for group in self.ensemble)


def produce(task: Task, output: Output, ranks: Ranks, *, overwrite: bool) -> Outcome:
    """Make what is still to be made of a forecast file. All ranks call it together.

    Raises:
        WeatherError: the file is another command's, or a state cannot be read or is not finite.
    """
    with contextlib.ExitStack() as locks:
        todo = on_first_rank(lambda: output.prepare(locks, overwrite=overwrite))
        if todo is None:
            return on_first_rank(lambda: _outcome_of(output))
        total = len(task.initial_states)
        if len(todo) < total and ranks.first:
            print(f"going on: {total - len(todo)} of {total} initial times are done")
        _produce_share(task, output, todo[ranks.rank :: ranks.world_size], show=ranks.first)
        gather_from_ranks(None)  # all have written
        return on_first_rank(lambda: _finish(task, output))


def _outcome_of(output: Output) -> Outcome:
    """Of a file that was complete before."""
    said = json.loads(str(file_attributes(output.path).get(BLOWN_UP, "{}")))
    return Outcome(True, int(said.get("forecasts", 0)), tuple(said.get("first", ())))


def _produce_share(task: Task, output: Output, numbers: list[int], *, show: bool) -> None:
    together = max(1, task.batch_size // task.members)
    groups = [numbers[begin : begin + together] for begin in range(0, len(numbers), together)]
    store = output.open()
    with contextlib.closing(store), counting_bar("forecasting", len(groups) * task.steps[-1], shows=show) as advance:
        for group in groups:
            records: list[dict[str, Any]] = [{"blown_up": {}} for _ in group]
            for step, states in enumerate(_forecasts(task, group), start=1):
                if step in task.steps:
                    _write(task, store, group, records, task.steps.index(step), states)
                advance(1)
            store.flush()
            for number, record in zip(group, records, strict=True):
                output.mark(number, record)


def _forecasts(task: Task, group: list[int]) -> Iterator[torch.Tensor]:
    device = task.ensemble[0].model.forecaster.device.torch_device
    length = task.ensemble[0].model.step.sequence_length
    fields, times = read_states(task.archive, [task.initial_states[number] for number in group], length)
    return go_forward(
        task.ensemble,
        task.noise,
        task.scale,
        torch.from_numpy(fields).to(device),
        times,
        steps=task.steps[-1],
        step_time=task.step_time,
        batch_size=task.batch_size,
    )


def read_states(archive: Archive, initial: Sequence[InitialState], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Fields [initial, time, channel, lat, lon] and times [initial, time] that forecasts begin with: `length` of each.

    Raises:
        DataError: a value is not finite.
    """
    fields = np.empty((len(initial), length, len(archive.channels), *archive.grid), np.float32)
    times = np.empty((len(initial), length), "datetime64[s]")
    for row, state in enumerate(initial):
        numbers = np.arange(state.newest - length + 1, state.newest + 1)
        reader = StateReader(state.split, archive.channel_indices)
        with contextlib.closing(reader):
            reader.read(numbers, fields[row])
        assert state.split.time is not None
        times[row] = state.split.time[numbers]
        if not np.isfinite(fields[row]).all():
            position, channel = (int(i[0]) for i in np.nonzero(~np.isfinite(fields[row]).all(axis=(2, 3))))
            raise DataError(
                f"channel '{archive.channels[channel]}' holds values that are not finite",
                where=state.split.describe(int(numbers[position])),
                rule="a forecast begins from finite numbers",
                fix="choose another --init, or fill the state",
            )
    return fields, times


def _write(
    task: Task, store: Store, group: list[int], records: list[dict[str, Any]], lead: int, states: torch.Tensor
) -> None:
    finite = torch.isfinite(states).flatten(2).all(dim=2).cpu().numpy()
    fields = states.cpu().numpy()
    for row, number in enumerate(group):
        store.write(number, lead, fields[row])
        for member in np.flatnonzero(~finite[row]).tolist():
            records[row]["blown_up"].setdefault(str(member), lead)


def _finish(task: Task, output: Output) -> Outcome:
    lines = []
    for number, record in enumerate(output.records()):
        for member, lead in record["blown_up"].items():
            hours = output.layout.leads[lead] / np.timedelta64(3600, "s")
            who = f", member {member}" if task.members > 1 else ""
            lines.append(f"from {output.layout.initial_times[number]}{who}: not finite from lead {hours:g} h on")
    named = lines[:MOST_NAMED]
    # In the file too: the same command, given again, must not call it sound.
    output.finish({BLOWN_UP: json.dumps({"forecasts": len(lines), "first": named})} if lines else {})
    return Outcome(False, len(lines), tuple(named))

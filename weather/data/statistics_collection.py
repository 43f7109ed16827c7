"""Takes the statistics of the states of a split: file by file, some at once, resumable, in bounded memory."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np

from weather.data.archive import Split, open_split
from weather.data.moments import Moments
from weather.data.order import sample_starts
from weather.data.reader import StateReader
from weather.data.statistics import FOLDER
from weather.data.statistics_parts import PARTS, FileMoments, Parts
from weather.data.statistics_record import CountedFile, Grid, StatisticsRecord
from weather.errors import EXIT_FAILED, ConfigError, DataError

HELD_BYTES = 2**29  # of earlier states that a worker keeps for differences; those further back are read again
SAYS_EVERY = 0.5  # seconds between two reports of the progress of workers

Progress = Callable[[int, int], None]  # states read, states to read


def collect(
    data_dir: Path,
    *,
    split: str = "train",
    leads: Sequence[int] = (),
    workers: int = 1,
    keeps_parts: bool = True,
    progress: Progress | None = None,
) -> StatisticsRecord:
    """Read every state of a split once and take its statistics; nothing in ``stats/`` is replaced.

    Args:
        leads: of differences, in time steps.
        workers: files read at once, each by a process of its own.
        keeps_parts: keep what is known of each file below ``stats/parts``, so that a run that was cut short goes on
            there; the caller removes that by `forget_parts` once the record is written.
        progress: called now and then with the states read and those to read.

    Raises:
        DataError: a file is damaged or holds a value that is not finite; no two states are a lead apart.
        ConfigError: fewer than one worker.
    """
    if workers < 1:
        raise ConfigError(f"{workers} workers", where="--workers", rule="at least 1")
    opened = open_split(Path(data_dir), split)
    for lead in leads:
        if lead < 1 or not sample_starts(opened.consecutive, lead + 1).size:
            raise DataError(
                f"no two states of the split '{split}' are {lead} time steps apart without a gap between them",
                where=Path(data_dir) / split,
                fix="leave this lead out",
            )
    parts = Parts(Path(data_dir), opened, tuple(leads)) if keeps_parts else None
    known = {} if parts is None else parts.read()
    todo = [number for number in range(len(opened.headers)) if number not in known]
    report = _Report(opened, known, progress)
    for number, found in _files(opened, todo, tuple(leads), min(workers, max(1, len(todo))), report):
        known[number] = found
        if parts is not None:
            parts.write(number, found)
    moments, differences = Moments(opened.headers[0].shape[1]), {}
    for lead in leads:
        differences[lead] = Moments(opened.headers[0].shape[1])
    for number in sorted(known):  # always in the same order: the last digits do not depend on who was first
        moments.merge(known[number].states)
        for lead in leads:
            differences[lead].merge(known[number].differences[lead])
    return make_record(Path(data_dir), opened, moments, differences)


def make_record(
    data_dir: Path, split: Split, moments: Moments, differences: dict[int, Moments] | None = None
) -> StatisticsRecord:
    """The record of moments that were taken over all states of a split."""
    header = split.headers[0]
    files = []
    for each in split.headers:
        ends = (None, None) if each.time is None else (str(each.time[0]), str(each.time[-1]))
        relative = each.path.relative_to(data_dir).as_posix()
        files.append(CountedFile(relative, each.states, each.path.stat().st_size, *ends))
    return StatisticsRecord(
        channels=header.channels,
        channel_units=header.channel_units,
        grid=Grid.of(header),
        step_hours=split.step_hours,
        files=tuple(files),
        years=tuple(np.unique(split.years()).tolist()) if split.time is not None else (),
        moments=moments,
        differences=dict(sorted((differences or {}).items())),
    )


def forget_parts(data_dir: Path) -> None:
    """Remove what was kept of single files."""
    shutil.rmtree(Path(data_dir) / FOLDER / PARTS, ignore_errors=True)


def file_moments(split: Split, number: int, leads: tuple[int, ...], advance: Callable[[], None]) -> FileMoments:
    """Statistics of the states of one file, each read once; earlier states beyond what is held are read again.

    Differences are taken in float32, as the states are: their relative error is below 6e-8.

    Args:
        advance: called after each state.

    Raises:
        DataError: a state cannot be read, or holds a value that is not finite.
    """
    header = split.headers[number]
    channels = header.shape[1]
    first, end = int(split.first_states[number]), int(split.first_states[number + 1])
    found = FileMoments(Moments(channels), {lead: Moments(channels) for lead in leads})
    begins = {lead: set(sample_starts(split.consecutive, lead + 1).tolist()) for lead in leads}
    window = _Window(split, max(leads, default=0))
    try:
        for state in range(first, end):
            fields = window.state(state)
            found.states.update(fields[None])
            if not np.isfinite(found.states.mean).all():
                raise _not_finite(split, state, fields)
            for lead in leads:
                if state - lead in begins[lead]:
                    found.differences[lead].update((fields - window.state(state - lead))[None])
            advance()
    finally:
        window.close()
    return found


class _Window:
    """The latest states of a split, as many as the longest lead needs or memory allows."""

    def __init__(self, split: Split, longest: int) -> None:
        header = split.headers[0]
        self.reader = StateReader(split, range(header.shape[1]))
        state_bytes = 4 * int(np.prod(header.shape[1:]))
        # Two at least: a state that is read again must not take the place of the one it is compared with.
        held = int(np.clip(HELD_BYTES // state_bytes, 2, longest + 1)) if longest else 1
        self.fields = np.empty((held, *header.shape[1:]), np.float32)
        self.spare = np.empty((1, *header.shape[1:]), np.float32) if held < longest + 1 else None
        self.states = np.full(held, -1)

    def state(self, state: int) -> np.ndarray:
        """Fields [channel, lat, lon] of a state, valid until the next call."""
        slot = state % len(self.states)
        if self.states[slot] == state:
            return self.fields[slot]
        if state < self.states.max() and self.spare is not None:
            self.reader.read(np.array([state]), self.spare)
            return self.spare[0]
        self.reader.read(np.array([state]), self.fields[slot : slot + 1])
        self.states[slot] = state
        return self.fields[slot]

    def close(self) -> None:
        self.reader.close()


def _not_finite(split: Split, state: int, fields: np.ndarray) -> DataError:
    channel, row, column = np.argwhere(~np.isfinite(fields))[0].tolist()
    header = split.headers[0]
    place = f"latitude {header.latitude[row]:g}, longitude {header.longitude[column]:g}"
    return DataError(
        f"channel '{header.channels[channel]}' is {fields[channel, row, column]} at {place}",
        where=split.describe(state),
        rule="every value of a training state is finite",
        fix="fill the values, or leave the channel or the state out",
    )


class _Report:
    """Adds up the states that all workers have read."""

    def __init__(self, split: Split, known: dict[int, FileMoments], progress: Progress | None) -> None:
        self.progress = progress
        self.total = split.states
        self.done = sum(split.headers[number].states for number in known)

    def advance(self) -> None:
        self.reach(self.done + 1)

    def reach(self, done: int) -> None:
        self.done = done
        if self.progress is not None:
            self.progress(done, self.total)


_counter: Any = None  # of this worker process: how many states all of them have read
_stop: Any = None  # set where the others are to end, too


def _begin_worker(counter: Any, stop: Any) -> None:
    global _counter, _stop
    _counter, _stop = counter, stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the parent says when to end
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A pool whose process was killed leaves its workers waiting for files for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(EXIT_FAILED)


def _advance_worker() -> None:
    with _counter.get_lock():
        _counter.value += 1
    if _stop.is_set():
        raise InterruptedError("another file failed, or the command was interrupted")


def _work(split: Split, number: int, leads: tuple[int, ...]) -> tuple[int, FileMoments]:
    return number, file_moments(split, number, leads, _advance_worker)


def _files(
    split: Split, todo: Sequence[int], leads: tuple[int, ...], workers: int, report: _Report
) -> Iterator[tuple[int, FileMoments]]:
    """Yield (file number, its moments) as they become known."""
    if workers == 1:
        for number in todo:
            yield number, file_moments(split, number, leads, report.advance)
        return
    # Not forked: an HDF5 library that has open files does not survive that.
    context = multiprocessing.get_context("spawn")
    counter, stop = context.Value("q", 0), context.Event()
    before = report.done
    with ProcessPoolExecutor(workers, context, _begin_worker, (counter, stop)) as pool:
        waiting = {pool.submit(_work, split, number, leads) for number in todo}
        try:
            while waiting:
                finished, waiting = wait(waiting, SAYS_EVERY, FIRST_COMPLETED)
                report.reach(before + counter.value)
                for each in finished:
                    yield each.result()
        except BrokenProcessPool as error:
            raise DataError(
                "a process that read a file was killed",
                where=split.headers[0].path.parent,
                fix="if memory ran out, ask for fewer: --workers 1; files that are done are not read again",
            ) from error
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)

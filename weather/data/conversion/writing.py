"""Writes one file of an archive: block by block, past the HDF5 library, resumable."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

import numpy as np

from weather.data.conversion.block_fields import BlockFields
from weather.data.conversion.blocks import THREADS, Block, Plan, cut_blocks
from weather.data.conversion.journal import BlockResult, Journal, PartResult, assemble, blocks_digest
from weather.data.conversion.splitting import YearPart
from weather.data.moments import Moments
from weather.data.reader import plane_offsets
from weather.data.year_file import FIELDS, create_year_file, open_for_reading
from weather.errors import DataError

COMMIT_BYTES = 64 * 2**20  # are put onto the disk at once; about twice as much is done again after a kill
ORIGIN = np.datetime64("2000-01-01T00:00:00")

Report = Callable[[int], None]  # bytes of the archive that are done
Stop = Callable[[], bool]


def write_part(plan: Plan, part: YearPart, fields: BlockFields, report: Report, stop: Stop) -> PartResult | None:
    """Write one file, or go on with it; None where it was stopped before the end.

    Raises:
        DataError: a block cannot be read, or has values that are not finite; or the file cannot be written.
    """
    journal, path = Journal(plan.archive, part), part.path(plan.archive)
    unfinished = path.with_name(path.name + ".unfinished")
    result = journal.result()
    if result is not None and (path.exists() or not result.states):
        report(plan.state_bytes * (result.states + len(result.dropped)))
        return result
    begun = _resume(plan, part, journal, unfinished) or _begin(plan, part, journal, unfinished, fields, stop)
    if begun is None:
        return None
    kept, blocks, results, dropped = begun
    report(plan.state_bytes * len(dropped) + sum(map(_bytes_of(plan), (blocks[number] for number in results))))
    if kept.times.size and not _write_blocks(plan, kept, blocks, results, unfinished, fields, journal, report, stop):
        return None
    moments, filled = assemble(plan, blocks, results)
    result = PartResult(len(kept.times), moments, filled, tuple(dropped))
    journal.finish(result)
    if kept.times.size:
        os.replace(unfinished, path)
    journal.remove()
    return result


Begun = tuple[YearPart, list[Block], dict[int, BlockResult], list[str]]


def _resume(plan: Plan, part: YearPart, journal: Journal, unfinished: Path) -> Begun | None:
    """Where an earlier process was, if it cut the same blocks."""
    if not unfinished.exists():
        return None
    try:
        head_dropped = _dropped_before(journal)
    except (OSError, ValueError):
        return None
    kept = _without(part, head_dropped)
    blocks = cut_blocks(plan, kept.times)
    found = journal.resume(blocks_digest(blocks, kept.times))
    return None if found is None else (kept, blocks, found[0], found[1])


def _dropped_before(journal: Journal) -> list[str]:
    import json

    with open(journal.path) as file:
        return list(json.loads(file.readline())["dropped"])


def _without(part: YearPart, dropped: list[str]) -> YearPart:
    gone = np.array(dropped, "datetime64[s]")
    return replace(part, times=part.times[~np.isin(part.times, gone)])


def _begin(
    plan: Plan, part: YearPart, journal: Journal, unfinished: Path, fields: BlockFields, stop: Stop
) -> Begun | None:
    """Lay out the file; with ``--drop_missing`` its states are read once before, to see which will be in it."""
    dropped: list[str] = []
    if plan.drop_missing:
        blocks = cut_blocks(plan, part.times)
        gone: set[int] = set()
        with ThreadPoolExecutor(THREADS) as pool:
            for rows in pool.map(lambda block: None if stop() else fields.unfillable(block), blocks):
                if rows is None:
                    return None
                gone.update(rows.tolist())
        dropped = [str(part.times[row]) for row in sorted(gone)]
    kept = _without(part, dropped)
    blocks = cut_blocks(plan, kept.times) if kept.times.size else []
    if kept.times.size:
        _lay_out(plan, kept, unfinished)
    journal.begin(blocks_digest(blocks, kept.times), dropped)
    return kept, blocks, {}, dropped


def _lay_out(plan: Plan, part: YearPart, unfinished: Path) -> None:
    with (
        _writable(unfinished),
        create_year_file(
            unfinished,
            states=len(part.times),
            channels=plan.channels.names,
            latitude=plan.grid.latitude,
            longitude=plan.grid.longitude,
            time_hours=(part.times - ORIGIN).astype(np.int64) / 3600.0,
            channel_units=plan.channels.units,
            chunks=(1, len(plan.channels.names), *plan.grid.shape) if plan.chunked else None,
            attributes=plan.attributes,
            space_first=True,
        ),
    ):
        pass


@contextlib.contextmanager
def _writable(path: Path) -> Iterator[None]:
    """Say which file the disk would not take; HDF5 raises a RuntimeError of several lines."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"the file cannot be written ({' '.join(str(error).split())[:200]})",
            where=path,
            fix="free the space, the quota or the right to write; the same command then goes on",
        ) from error


def _bytes_of(plan: Plan) -> Callable[[Block], int]:
    plane = 4 * int(np.prod(plan.grid.shape))
    return lambda block: block.rows * len(plan.groups[block.group].group.channels) * plane


def _write_blocks(
    plan: Plan,
    part: YearPart,
    blocks: list[Block],
    results: dict[int, BlockResult],
    unfinished: Path,
    fields: BlockFields,
    journal: Journal,
    report: Report,
    stop: Stop,
) -> bool:
    """Write the blocks that are not in `results`, and put them there; False where it was stopped before."""
    with open_for_reading(unfinished) as file:
        offsets = plane_offsets(file[FIELDS])
    assert offsets is not None, "a file laid out here has its planes where they are"
    todo = iter([number for number in range(len(blocks)) if number not in results])
    size_of = _bytes_of(plan)
    descriptor = os.open(unfinished, os.O_WRONLY)

    def work(number: int) -> tuple[int, BlockResult]:
        block = blocks[number]
        values, filled = fields.make(block, part.times)
        moments = Moments(values.shape[1])
        moments.update(values)
        channels = list(plan.groups[block.group].group.channels)
        assert values.shape == (block.rows, len(channels), *plan.grid.shape), values.shape
        with _writable(unfinished):
            _write(descriptor, values, offsets[block.first : block.end, channels])
        return number, BlockResult(moments, filled)

    commit = _Commit(descriptor, journal)
    waiting: list[Future[tuple[int, BlockResult]]] = []
    stopped = False
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            try:
                while True:
                    stopped = stopped or stop()
                    while not stopped and len(waiting) < THREADS and (number := next(todo, None)) is not None:
                        waiting.append(pool.submit(work, number))
                    if not waiting:
                        break
                    done, _ = wait(waiting, 1.0, FIRST_COMPLETED)
                    if any(each.exception() is not None for each in done):
                        for each in waiting:  # the first of them that fails is the same in every run
                            each.result()
                    waiting = [each for each in waiting if each not in done]
                    for each in done:
                        number, result = each.result()
                        results[number] = result
                        commit.add(number, result, size_of(blocks[number]))
                        report(size_of(blocks[number]))
            finally:
                commit.close()
    finally:
        os.close(descriptor)
    return len(results) == len(blocks)


class _Commit:
    """Puts fields onto the disk while others are made, and only then into the journal."""

    def __init__(self, descriptor: int, journal: Journal) -> None:
        self.descriptor = descriptor
        self.journal = journal
        self._pending: dict[int, BlockResult] = {}
        self._bytes = 0
        self._thread = ThreadPoolExecutor(1)
        self._under_way: Future[None] | None = None

    def add(self, number: int, result: BlockResult, size: int) -> None:
        self._pending[number] = result
        self._bytes += size
        if self._bytes >= COMMIT_BYTES and (self._under_way is None or self._under_way.done()):
            self._start()

    def _start(self) -> None:
        if self._under_way is not None:
            self._under_way.result()
        self._under_way = self._thread.submit(self._keep, self._pending)
        self._pending, self._bytes = {}, 0

    def _keep(self, results: dict[int, BlockResult]) -> None:
        if results:
            with _writable(self.journal.path):
                os.fdatasync(self.descriptor) if hasattr(os, "fdatasync") else os.fsync(self.descriptor)
                self.journal.add(results)

    def close(self) -> None:
        """Keep what is left; returns when all of it is on the disk."""
        try:
            self._start()
            assert self._under_way is not None
            self._under_way.result()
        finally:
            self._thread.shutdown()


def _write(descriptor: int, values: np.ndarray, offsets: np.ndarray) -> None:
    """Write fields [rows, channel, lat, lon] to the byte offsets [rows, channel] of their planes."""
    values = np.ascontiguousarray(values, "<f4")
    plane = values[0, 0].nbytes
    flat, places = memoryview(values.data).cast("B"), offsets.reshape(-1)
    starts = [0, *(np.flatnonzero(np.diff(places) != plane) + 1).tolist(), len(places)]
    for begin, end in zip(starts[:-1], starts[1:], strict=True):
        piece, offset = flat[begin * plane : end * plane], int(places[begin])
        while piece:
            written = os.pwrite(descriptor, piece, offset)
            piece, offset = piece[written:], offset + written

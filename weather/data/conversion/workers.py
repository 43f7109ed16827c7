"""Files are written one after another here, or by several processes, each of which has its own sources open."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

from weather.data.conversion.block_fields import BlockFields
from weather.data.conversion.blocks import Plan
from weather.data.conversion.journal import PartResult
from weather.data.conversion.reading import SourceReader
from weather.data.conversion.writing import Report, Stop, write_part
from weather.errors import DataError
from weather.runtime.stop import HANDLED

LOOKS_EVERY = 0.5  # seconds between two looks for a stop signal


def write_parts(plan: Plan, workers: int, report: Report, stop: Stop) -> list[PartResult] | None:
    """Write all files of a plan; None where it was stopped, which leaves a state to go on from.

    Args:
        workers: processes; with one, this one writes.
        report: called with the bytes of the archive that are done.
        stop: whether to stop at the end of the blocks that are under way.

    Raises:
        DataError: a source cannot be read, or has values that are not finite; or a process was killed.
    """
    if workers == 1 or len(plan.parts) == 1:
        return _write_here(plan, report, stop)
    context = multiprocessing.get_context("spawn")  # open HDF5 files do not survive a fork
    pool = [_Worker(context, plan) for _ in range(min(workers, len(plan.parts)))]
    try:
        return _direct(pool, len(plan.parts), report, stop)
    finally:
        for worker in pool:
            worker.end()


def _write_here(plan: Plan, report: Report, stop: Stop) -> list[PartResult] | None:
    reader = SourceReader(plan.index_folder)
    try:
        fields = BlockFields(plan, reader)
        results = []
        for part in plan.parts:
            result = None if stop() else write_part(plan, part, fields, report, stop)
            if result is None:
                return None
            results.append(result)
        return results
    finally:
        reader.close()


class _Worker:
    """A process that writes the files whose numbers it is sent."""

    def __init__(self, context: Any, plan: Plan) -> None:
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, plan))
        self.process.start()
        theirs.close()  # so that the end of this process is the end of theirs

    def end(self) -> None:
        self.connection.close()
        self.process.join()


def _direct(pool: list[_Worker], parts: int, report: Report, stop: Stop) -> list[PartResult] | None:
    """Hand out files, collect results; after a stop or an error wait until all are in good order."""
    todo = iter(range(parts))
    results: dict[int, PartResult] = {}
    busy: dict[Connection, _Worker] = {}
    error: Exception | None = None
    stopping = False

    def give(worker: _Worker) -> None:
        number = None if stopping else next(todo, None)
        if number is not None:
            busy[worker.connection] = worker
            _send(worker.connection, number)

    for worker in pool:
        give(worker)
    while busy:
        if (stop() or error is not None) and not stopping:
            stopping = True
            for connection in busy:
                _send(connection, None)
        for ready in wait(list(busy), LOOKS_EVERY):
            assert isinstance(ready, Connection)
            worker = busy[ready]
            try:
                kind, value = ready.recv()
            except (EOFError, ConnectionResetError):
                del busy[ready]
                worker.process.join()
                error = error or DataError(
                    f"a writing process ended with status {worker.process.exitcode}",
                    where="--workers",
                    rule="-9 is what the system does where memory is short",
                    fix="the same command goes on; with fewer workers or less --memory if it was memory",
                )
                continue
            if kind == "bytes":
                report(value)
                continue
            del busy[ready]
            if kind == "error":
                error = error or value
            elif value[1] is not None:
                results[value[0]] = value[1]
            give(worker)
    if error is not None:
        raise error
    return [results[number] for number in range(parts)] if len(results) == parts else None


def _send(connection: Connection, number: int | None) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # to receive from it says that it has ended
        connection.send(number)


def _serve(connection: Connection, plan: Plan) -> None:
    """Body of a worker: until its parent closes the connection."""
    for number in HANDLED:
        signal.signal(number, signal.SIG_IGN)  # the parent decides, and says so
    reader = SourceReader(plan.index_folder)
    fields = BlockFields(plan, reader)
    stop: Callable[[], bool] = connection.poll  # whatever comes during a file, be it the end of the parent, says stop
    try:
        while (number := connection.recv()) is not None:
            try:
                result = write_part(
                    plan, plan.parts[number], fields, lambda done: connection.send(("bytes", done)), stop
                )
            except Exception as error:  # for the parent to raise
                connection.send(("error", error))
            else:
                connection.send(("part", (number, result)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    finally:
        reader.close()

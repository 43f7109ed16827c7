"""A conversion from its beginning, or from where it was stopped, to its end."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from weather.data.archive import open_split
from weather.data.conversion.block_fields import BlockFields
from weather.data.conversion.blocks import THREADS, Plan, block_budget, cut_blocks
from weather.data.conversion.existing import PROVENANCE_FILE, check_place, is_complete, make_room
from weather.data.conversion.journal import PartResult, forget, request_record, work_folder
from weather.data.conversion.planning import Planned, make_plan
from weather.data.conversion.reading import SourceReader
from weather.data.conversion.request import Request
from weather.data.conversion.sources import find_sources
from weather.data.conversion.static import write_static
from weather.data.conversion.summary import describe, provenance
from weather.data.conversion.urls import is_url
from weather.data.conversion.workers import write_parts
from weather.data.conversion.writing import Stop
from weather.data.moments import Moments
from weather.data.statistics import replace_file, write_record
from weather.data.statistics_collection import collect, forget_parts, make_record
from weather.errors import DataError, WeatherError
from weather.runtime.progress import counting_bar, progress_bar

ROOM_LEFT = 64 * 2**20  # bytes that must stay free on the disk
INDEX_FOLDER = "grib_indices"


@dataclass(frozen=True)
class Outcome:
    """How a conversion ended.

    Attributes:
        complete: False: it was stopped, and the same command goes on.
        states: written, of all splits.
        text: what to tell.
    """

    complete: bool
    states: int
    text: str


def convert(
    request: Request,
    archive: str | os.PathLike[str],
    *,
    memory: int = 2 * 2**30,
    workers: int = 1,
    leads: Sequence[int] = (),
    overwrite: bool = False,
    dry_run: bool = False,
    stop: Stop = lambda: False,
) -> Outcome:
    """Convert gridded data to an archive, resumably.

    Args:
        archive: folder; made if it is missing.
        memory: bytes that all processes together stay below.
        workers: processes, each of which writes files of its own.
        leads: in time steps, of difference statistics; the training states are read once more for them.
        overwrite: replace an archive of another conversion.
        dry_run: plan and measure only; nothing is written.
        stop: asked between blocks.

    Raises:
        ConfigError, DataError: what is asked for cannot be done.
    """
    if is_url(str(archive)):
        raise DataError("OUT is a URL", where=archive, rule="an archive is a folder", fix="name a folder")
    archive = Path(archive).absolute()
    block_bytes = block_budget(memory, workers)
    sources = find_sources(request.sources)
    check_place(archive, sources)
    identity = request_record({"request": request.record(), "sources": [source.record() for source in sources]})
    if is_complete(archive, identity, overwrite=overwrite):
        return Outcome(True, 0, f"{archive} holds this conversion already; nothing to do")
    new = not archive.exists()
    index_folder = None if dry_run else _made(work_folder(archive) / INDEX_FOLDER)
    try:
        with counting_bar("looking through the sources", len(sources)) as advance:
            planned = make_plan(request, sources, archive, block_bytes=block_bytes, index_folder=index_folder,
                                advance=lambda: advance(1))  # fmt: skip
    except WeatherError:
        if index_folder is not None:
            _leave_no_trace(index_folder, archive if new else None)
        raise
    plan = planned.plan
    text = describe(planned, len(sources))
    if dry_run:
        return Outcome(True, 0, f"{text}\n{_speed(plan, memory, workers)}")
    make_room(archive, identity, overwrite=overwrite)
    _made(work_folder(archive) / INDEX_FOLDER)
    _check_space(plan)
    total = plan.state_bytes * sum(len(part.times) for part in plan.parts)
    with counting_bar("converting", total, unit="bytes") as advance:
        results = write_parts(plan, workers, advance, stop)
    if results is None:
        return Outcome(False, 0, "stopped; the same command goes on from here")
    _finish(planned, results, identity, leads, workers)
    return Outcome(True, sum(result.states for result in results), f"{text}\n{_written(plan, results)}")


def _made(folder: Path) -> Path:
    """The folder, made with those above it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"no folder can be made there ({error.strerror})",
            where=folder,
            fix="name another archive, or free the space or the right to write",
        ) from error
    return folder


def _leave_no_trace(index_folder: Path, new_archive: Path | None) -> None:
    """After a refusal: no folder that was made for nothing."""
    shutil.rmtree(index_folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # an earlier conversion has left something in one of them
        index_folder.parent.rmdir()
        if new_archive is not None:
            new_archive.rmdir()


def _written(plan: Plan, results: Sequence[PartResult]) -> str:
    """What became of it."""
    states, dropped = sum(result.states for result in results), sum(len(result.dropped) for result in results)
    filled = [sum(result.filled[number] for result in results) for number in range(len(plan.groups))]
    text = f"written   {states} states in {sum(result.states > 0 for result in results)} file(s)"
    text += f", {dropped} dropped for missing values" if dropped else ""
    if any(filled):
        names = [f"{planned.group.name} {count}" for planned, count in zip(plan.groups, filled, strict=True) if count]
        text += f"; values filled: {', '.join(names)}"
    return text


def _check_space(plan: Plan) -> None:
    """Refuse to begin what the disk cannot hold."""
    needed = there = 0
    for part in plan.parts:
        needed += plan.state_bytes * len(part.times)
        path = part.path(plan.archive)
        for file in (path, path.with_name(path.name + ".unfinished")):
            if file.exists():
                there += file.stat().st_blocks * 512
    free = shutil.disk_usage(plan.archive).free
    if needed - there + ROOM_LEFT > free:
        raise DataError(
            f"{needed - there} bytes ({(needed - there) / 1e9:.2f} GB) are needed and {free} "
            f"({free / 1e9:.2f} GB) free",
            where=plan.archive,
            fix="ask for fewer years, variables or levels, a lower --resolution, or another folder",
        )


def _finish(
    planned: Planned, results: list[PartResult], identity: dict[str, object], leads: Sequence[int], workers: int
) -> None:
    """Statistics of the training states, static fields, and at last the provenance: the archive is whole then."""
    plan = planned.plan
    training = Moments(len(plan.channels.names))
    for part, result in zip(plan.parts, results, strict=True):
        if part.split == "train":
            training.merge(result.moments)
    empty = [split for split in dict.fromkeys(part.split for part in plan.parts)
             if not any(r.states for p, r in zip(plan.parts, results, strict=True) if p.split == split)]  # fmt: skip
    if empty:
        raise DataError(
            f"no state is left in '{empty[0]}'",
            where=plan.archive,
            rule="every state had missing values",
            fix="fill them: --fill mean, nearest or a number",
        )
    if leads:
        with progress_bar("statistics of differences", unit="states") as progress:
            record = collect(plan.archive, leads=leads, workers=workers, progress=progress)
    else:
        record = make_record(plan.archive, open_split(plan.archive, "train"), training)
    write_record(plan.archive, record)
    forget_parts(plan.archive)
    if planned.static is not None:
        write_static(planned.static, plan)
    said = provenance(planned, results, identity["request"], identity["sources"])  # type: ignore[arg-type]
    replace_file(plan.archive / PROVENANCE_FILE, lambda file: file.write((json.dumps(said, indent=1) + "\n").encode()))
    forget(plan.archive)


def _speed(plan: Plan, memory: int, workers: int) -> str:
    """How long reading and computing will take, from the first block of each group, and the memory."""
    reader = SourceReader(plan.index_folder)
    fields = BlockFields(plan, reader)
    times = plan.parts[0].times
    blocks = cut_blocks(plan, times)
    seconds, total = 0.0, 0.0
    try:
        for number, planned in enumerate(plan.groups):
            block = next(block for block in blocks if block.group == number)
            began = time.perf_counter()
            values, _ = fields.make(block, times)
            Moments(values.shape[1]).update(values)
            took = time.perf_counter() - began
            states = sum(len(part.times) for part in plan.parts)
            seconds += took / block.rows * states
            total += values[0].nbytes * states
            del planned
    finally:
        reader.close()
    return (
        f"memory    at most {memory / 1e9:.2f} GB; blocks of at most {plan.block_bytes / 1e6:.0f} MB, {THREADS} at "
        f"once in each of {workers} process(es)\n"
        f"time      about {seconds / workers / THREADS:.0f} to {seconds / workers:.0f} s of reading and computing (one "
        f"block of each variable was tried), or {total / 1e9:.2f} GB at the speed of the disk if that is slower"
    )

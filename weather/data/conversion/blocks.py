"""Blocks of states that are read, changed and written at once: sized by memory, cut along the chunks on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from weather.data.conversion.channels import Channels, Group
from weather.data.conversion.holdings import EXPVER, Holding
from weather.data.conversion.horizontal import Arrangement
from weather.data.conversion.joining import Places
from weather.data.conversion.opening import chunks_at_once
from weather.data.conversion.reading import chunk_bytes, raw_state_bytes
from weather.data.conversion.regridding import Grid
from weather.data.conversion.splitting import YearPart
from weather.errors import ConfigError

#: Bytes of a process that has imported xarray and its readers and opened some files, measured at 0.3e9.
PROCESS_BYTES = 400 * 2**20
THREADS = 2  # of a process: one reads or computes while the other writes
USUAL_BLOCK = 32 * 2**20  # bytes; larger ones are not faster, and more is lost when a process is killed
TILE = 4 * 2**20  # bytes that are decoded and regridded at once


@dataclass(frozen=True)
class GroupPlan:
    """A group of channels and where its states are.

    Attributes:
        level_index: of each holding, the index on its level dimension of each channel; empty where there is none.
        arrangements: of each holding.
        places: of all states of the archive.
    """

    group: Group
    level_index: tuple[tuple[int, ...], ...]
    arrangements: tuple[Arrangement, ...]
    places: Places = field(compare=False)


@dataclass(frozen=True)
class Plan:
    """Everything that is needed to write the files, in any process."""

    archive: Path
    channels: Channels
    groups: tuple[GroupPlan, ...]
    grid: Grid
    parts: tuple[YearPart, ...]
    fill: str
    drop_missing: bool
    chunked: bool
    attributes: dict[str, str]
    block_bytes: int
    index_folder: Path | None

    @property
    def state_bytes(self) -> int:
        return 4 * len(self.channels.names) * int(np.prod(self.grid.shape))


@dataclass(frozen=True)
class Run:
    """States of one holding that are read at once.

    Attributes:
        row: first row in the part.
        holding: number in the group.
        first, count: positions read.
        kept: of these, which are wanted; None: all.
    """

    row: int
    holding: int
    first: int
    count: int
    kept: np.ndarray | None

    @property
    def rows(self) -> int:
        return self.count if self.kept is None else len(self.kept)


@dataclass(frozen=True)
class Block:
    """Rows `first` to `end` of one group in one file."""

    group: int
    first: int
    end: int
    runs: tuple[Run, ...]

    @property
    def rows(self) -> int:
        return self.end - self.first


def block_budget(memory: int, workers: int) -> int:
    """Bytes that one block may take.

    Raises:
        ConfigError: the processes alone need more than `memory`.
    """
    left = memory / workers - PROCESS_BYTES
    if left < 32 * 2**20:
        raise ConfigError(
            f"--memory {memory / 2**20:.0f}MB with --workers {workers}",
            where="--memory",
            rule=f"each process needs {PROCESS_BYTES / 2**20:.0f} MB for itself and at least 32 MB for blocks",
            fix="fewer workers, or more memory",
        )
    return int(left / THREADS)


def cut_blocks(plan: Plan, times: np.ndarray) -> list[Block]:
    """The blocks of a file with these times; the same for the same plan.

    Raises:
        ConfigError: one chunk on disk does not fit into memory.
    """
    blocks = []
    for number, planned in enumerate(plan.groups):
        places = planned.places.of(times)
        runs = _runs(planned, places)
        state = 4 * len(planned.group.channels) * int(np.prod(plan.grid.shape))
        for begin, end in _packed(planned, places, runs, state, plan.block_bytes):
            blocks.append(Block(number, begin, end, tuple(_within(runs, begin, end))))
    return blocks


def _runs(planned: GroupPlan, places: Places) -> list[Run]:
    """Rows that follow one another in one holding; gaps are read over only within a chunk."""
    runs: list[Run] = []
    begin, rows = 0, len(places.times)
    while begin < rows:
        number = int(places.holding[begin])
        holding = planned.group.holdings[number]
        chunk = holding.chunk(holding.time_dims[-1]) if holding.time_dims and holding.chunked else 1
        inner = holding.size(holding.time_dims[1]) if len(holding.time_dims) == 2 else 0
        end = begin + 1
        while end < rows and int(places.holding[end]) == number:
            before, here = int(places.position[end - 1]), int(places.position[end])
            if inner and here // inner != before // inner:
                break
            offset = (before // inner * inner) if inner else 0
            if here != before + 1 and not (here > before and (here - offset) // chunk == (before - offset) // chunk):
                break
            end += 1
        position = places.position[begin:end]
        first, count = int(position[0]), int(position[-1] - position[0]) + 1
        runs.append(Run(begin, number, first, count, None if count == end - begin else position - first))
        begin = end
    return runs


def _packed(planned: GroupPlan, places: Places, runs: list[Run], state: int, budget: int) -> list[tuple[int, int]]:
    """Rows [begin, end) of each block: as many whole chunks as fit."""
    costs = [_costs(planned, number, state) for number in range(len(planned.group.holdings))]
    atoms = _atoms(planned, places)
    packed: list[tuple[int, int]] = []
    begin, cost = 0, 0
    for first, end in zip(atoms[:-1], atoms[1:], strict=True):
        number = int(places.holding[first])
        per_row, alone, together = costs[number]
        span = int(places.position[end - 1] - places.position[first]) + 1
        raw = span * per_row + (end - first) * state
        least = raw + span * per_row + alone  # levels that are picked out or joined are copied
        if least > budget:
            holding = planned.group.holdings[number]
            needed = least * THREADS + PROCESS_BYTES
            raise ConfigError(
                f"{least / 2**20:.0f} MB are needed for {end - first} state(s), and a block may take "
                f"{budget / 2**20:.0f}",
                where=holding.where,
                rule=f"a chunk on disk, here {' x '.join(map(str, holding.chunks))}, is read once and as a whole"
                if holding.chunked
                else "a state of a variable is read at once",
                fix=f"set --memory {-(-needed // 2**20)}MB for each worker, or take fewer levels",
            )
        if begin < first and cost + raw > min(budget - together, USUAL_BLOCK):
            packed.append((begin, first))
            begin, cost = first, 0
        cost += raw
    packed.append((begin, int(atoms[-1])))
    return packed


def _atoms(planned: GroupPlan, places: Places) -> list[int]:
    """Rows at which a chunk on disk begins, and the count of rows at the end."""
    chunk = np.array([holding.chunk(holding.time_dims[-1]) if holding.time_dims and holding.chunked else 1
                      for holding in planned.group.holdings])  # fmt: skip
    inner = np.array([holding.size(holding.time_dims[1]) if len(holding.time_dims) == 2 else 2**62
                      for holding in planned.group.holdings])  # fmt: skip
    number, position = places.holding, places.position
    key = np.stack([number, position // inner[number], position % inner[number] // chunk[number]])
    return [0, *(np.flatnonzero((np.diff(key, axis=1) != 0).any(axis=0)) + 1).tolist(), len(number)]


def _costs(planned: GroupPlan, number: int, state: int) -> tuple[int, int, int]:
    """Bytes in memory of a block: for each state that is read; once, with one time of chunks; once, with several."""
    holding: Holding = planned.group.holdings[number]
    raw = raw_state_bytes(holding, planned.level_index[number])
    if holding.source.kind == "grib":
        raw *= 2  # messages are decoded as float64
    copies = 2 if EXPVER in holding.dims and EXPVER not in holding.fixed else 1
    channels = len(planned.group.channels)
    points = holding.size(holding.latitude_dim) * holding.size(holding.longitude_dim)
    tile = 6 * max(TILE, state // channels, 4 * points)  # some float64 copies
    at_once = chunks_at_once(holding.source)
    side_by_side = int(np.prod([-(-size // chunk) for dim, size, chunk in
                                zip(holding.dims, holding.shape, holding.chunks, strict=True)
                                if dim not in holding.time_dims]))  # fmt: skip
    # A chunk is in memory compressed and decompressed.
    alone, together = (2 * chunk_bytes(holding) * count for count in (min(at_once, side_by_side), at_once))
    return raw * copies, alone + tile, together + tile + USUAL_BLOCK


def _within(runs: list[Run], begin: int, end: int) -> list[Run]:
    """Parts of runs that lie in rows [begin, end)."""
    found = []
    for run in runs:
        low, high = max(begin, run.row), min(end, run.row + run.rows)
        if low >= high:
            continue
        if run.kept is None:
            found.append(Run(low, run.holding, run.first + low - run.row, high - low, None))
            continue
        kept = run.kept[low - run.row : high - run.row]
        first, count = int(kept[0]), int(kept[-1] - kept[0]) + 1
        found.append(Run(low, run.holding, run.first + first, count, None if count == high - low else kept - first))
    return found

"""Makes the file of a climatology by day of year and hour, which at 0.25 degrees is larger than any memory.

First every training state is read once, in whole, and added to the sum of its day and hour, which goes to a file of its
own. Then block by block of grid points, the sums of all days are averaged over their windows. Both parts are shared out
to the ranks, what is finished is written down, and an interrupted making goes on where it was.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from weather.data.archive import Archive, Split
from weather.data.reader import StateReader
from weather.data.year_file import FIELDS
from weather.errors import DataError
from weather.runtime.ranks import Ranks
from weather.verification.window import DAYS, Window, doubled

BLOCK_POINTS = 2**16  # grid points that are averaged at once: 190 MB of float64 sums
DAYS_AT_ONCE = 61
AHEAD = 3  # states that are read while another is added
FINISHED = "finished"
PARTIAL, SUMS = ".partial", ".sums"
SECONDS_BETWEEN_RECORDS = 10.0
ABANDONED_SECONDS = 1800.0  # without a record


@dataclass(frozen=True)
class Layout:
    """Where the pieces of an unfinished climatology are.

    Attributes:
        partial: the file; sums: [hour x 366, point] float32 of sums over years.
        fields, finished: bytes in `partial` at which the fields and the list of finished units begin.
        points: of one state, all channels; slots: hours x 366.
    """

    partial: Path
    sums: Path
    fields: int
    finished: int
    points: int
    slots: int

    @property
    def blocks(self) -> list[tuple[int, int, int]]:
        """Hour, first point and end of the blocks of the second part."""
        return [
            (hour, begin, min(begin + BLOCK_POINTS, self.points))
            for hour in range(self.slots // DAYS)
            for begin in range(0, self.points, BLOCK_POINTS)
        ]

    def finish(self, path: Path) -> None:
        """Give the file its name.

        Raises:
            DataError: a rank has not written into it.
        """
        with h5py.File(self.partial, "r", locking=False) as file:
            complete = bool(file[FINISHED][()].all())
        if not complete:
            raise DataError(
                "not all ranks have written into the file", where=self.partial, rule="ranks share a file system"
            )
        os.replace(self.partial, path)
        self.sums.unlink(missing_ok=True)


def create(path: Path, archive: Archive, channels: int, window: Window, words: str) -> Layout:
    """The unfinished files: those that an earlier process left, or new ones with all their space.

    Every process has files of its own, so that two that make the same climatology do not meet.

    Raises:
        DataError: there is no room for it.
    """
    slots, points = len(window.hours) * DAYS, channels * archive.grid[0] * archive.grid[1]
    own = path.with_name(f"{path.name}.{socket.gethostname()}.{os.getpid()}")
    partial, sums = own.with_name(own.name + PARTIAL), own.with_name(own.name + SUMS)
    layout = Layout(partial, sums, 0, 0, points, slots)
    if not _take_over(path, partial, sums):
        needed, free = 2 * 4 * slots * points, shutil.disk_usage(path.parent).free
        if needed > free:
            raise DataError(
                f"making the climatology by day of year takes {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free",
                where=path.parent,
                fix="make room there, or choose --climatology harmonic",
            )
        with open(sums, "wb") as file:
            file.truncate(4 * slots * points)
        _write_empty(partial, archive, channels, slots, slots + len(layout.blocks), words)
    with h5py.File(partial, "r", locking=False) as file:
        places = file[FIELDS].id.get_offset(), file[FINISHED].id.get_offset()
    return dataclasses.replace(layout, fields=places[0], finished=places[1])


def _take_over(path: Path, partial: Path, sums: Path) -> bool:
    """Give the unfinished files of a process that is gone new names; false where there are none."""
    for left in sorted(path.parent.glob(f"{path.name}.*{PARTIAL}")):
        name = left.name.removesuffix(PARTIAL)
        host, _, process = name.removeprefix(path.name + ".").rpartition(".")
        gone = host == socket.gethostname() and not Path("/proc", process).exists() and Path("/proc/self").exists()
        with contextlib.suppress(FileNotFoundError):  # another process took it, or ended well
            if gone or time.time() - left.stat().st_mtime > ABANDONED_SECONDS:
                os.replace(left, partial)
                os.replace(left.with_name(name + SUMS), sums)
                return True
    return False


def _write_empty(path: Path, archive: Archive, channels: int, slots: int, units: int, words: str) -> None:
    with h5py.File(path, "w") as file:
        for name, shape, kind in (
            (FIELDS, (slots, channels, *archive.grid), h5py.h5t.IEEE_F32LE),
            (FINISHED, (units,), h5py.h5t.STD_U8LE),
        ):
            settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            settings.set_layout(h5py.h5d.CONTIGUOUS)
            settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            # To fill the fields would be to write the whole file once more.
            settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER if name == FIELDS else h5py.h5d.FILL_TIME_ALLOC)
            h5py.h5d.create(file.id, name.encode(), kind, h5py.h5s.create_simple(shape), settings)
        names = h5py.string_dtype()
        file["channel"] = np.array(archive.channels[:channels], dtype=names)
        file["channel_units"] = np.array(archive.channel_units[:channels], dtype=names)
        file["latitude"], file["longitude"] = archive.latitude, archive.longitude
        file.attrs["description"] = words


class WindowMaking:
    """One rank's share of the making.

    Args:
        split: the training states.
        indices: of the channels.
        progress: told how many units of how many are done.
    """

    def __init__(
        self,
        layout: Layout,
        split: Split,
        indices: tuple[int, ...],
        window: Window,
        ranks: Ranks,
        progress: Callable[[int, int], None],
    ) -> None:
        assert split.time is not None, "a window over days needs days"
        self.layout, self.split, self.indices, self.window, self.progress = layout, split, indices, window, progress
        self.ranks = ranks
        self.slots = window.slots(split.time)
        self.twice = doubled(split.time)

    def add_up(self) -> None:
        """The sum over years of each day and hour, from whole states."""
        slots = np.arange(self.layout.slots)[self.ranks.rank :: self.ranks.world_size]
        reader = StateReader(self.split, self.indices)
        with contextlib.closing(reader), self._units(slots.tolist(), "sums") as units:
            wanted = [(slot, self._states(slot)) for slot in units.left]
            states = self._read(reader, np.concatenate([np.empty(0, np.int64), *(found for _, found in wanted)]))
            for slot, found in wanted:
                if found.size:
                    total = np.zeros((len(self.indices), *self.split.grid))
                    for _ in range(found.size):
                        total += next(states)
                    units.write(total.astype("<f4"), 4 * slot * self.layout.points)
                units.done(slot)

    def _states(self, slot: int) -> np.ndarray:
        """Training states whose day and hour it is; see `window`: those of day 365 may stand for day 366 too."""
        own = self.slots == slot
        if slot % DAYS == DAYS - 1:
            own |= (self.slots == slot - 1) & self.twice
        return np.flatnonzero(own)

    def _read(self, reader: StateReader, states: np.ndarray) -> Iterator[np.ndarray]:
        """States [channel, lat, lon] one after the other, read ahead; each valid until the next is asked for."""
        buffers = [np.empty((1, len(self.indices), *self.split.grid), np.float32) for _ in range(AHEAD + 1)]
        pending: list[Future[None]] = []
        with ThreadPoolExecutor(AHEAD) as pool:
            for position in range(len(states) + AHEAD):
                if position < len(states):
                    buffer = buffers[position % len(buffers)]
                    pending.append(pool.submit(reader.read, states[position : position + 1], buffer))
                if position >= AHEAD:
                    pending.pop(0).result()
                    yield buffers[(position - AHEAD) % len(buffers)][0]

    def smooth(self) -> None:
        """The means over windows, from the sums of all days at some grid points."""
        blocks = dict(enumerate(self.layout.blocks, start=self.layout.slots))
        mine = list(blocks)[self.ranks.rank :: self.ranks.world_size]
        with self._units(mine, "fields") as units, open(self.layout.sums, "rb") as sums:
            for number in units.left:
                hour, begin, end = blocks[number]
                days = np.empty((DAYS, end - begin))
                for day in range(DAYS):
                    sums.seek(4 * ((hour * DAYS + day) * self.layout.points + begin))
                    days[day] = np.fromfile(sums, "<f4", end - begin)
                weights = self.window.weights(hour)
                for first in range(0, DAYS, DAYS_AT_ONCE):
                    usual = (weights[first : first + DAYS_AT_ONCE] @ days).astype("<f4")
                    for day, values in enumerate(usual, start=hour * DAYS + first):
                        units.write(values, self.layout.fields + 4 * (day * self.layout.points + begin))
                units.done(number)

    @contextlib.contextmanager
    def _units(self, mine: list[int], target: str) -> Iterator[_Units]:
        path = self.layout.sums if target == "sums" else self.layout.partial
        with open(path, "r+b", buffering=0) as file, open(self.layout.partial, "r+b", buffering=0) as record:
            units = _Units(file.fileno(), record.fileno(), self.layout.finished, mine, self.progress)
            yield units
            units.record_finished()


class _Units:
    """Units of work: which are left, and a record of what is finished, made once their bytes are on the disk."""

    def __init__(
        self, file: int, record: int, place: int, mine: list[int], progress: Callable[[int, int], None]
    ) -> None:
        self.file, self.record, self.place, self.progress = file, record, place, progress
        self.total = len(mine)
        self.left = [unit for unit in mine if os.pread(record, 1, place + unit) != b"\x01"]
        self.unrecorded: list[int] = []
        self.count = self.total - len(self.left)
        self.recorded_at = time.monotonic()

    def write(self, values: np.ndarray, place: int) -> None:
        content = np.ascontiguousarray(values).data.cast("B")
        while content:
            written = os.pwrite(self.file, content, place)
            content, place = content[written:], place + written

    def done(self, unit: int) -> None:
        self.unrecorded.append(unit)
        self.count += 1
        self.progress(self.count, self.total)
        if time.monotonic() - self.recorded_at > SECONDS_BETWEEN_RECORDS:
            self.record_finished()

    def record_finished(self) -> None:
        os.fsync(self.file)
        for unit in self.unrecorded:
            os.pwrite(self.record, b"\x01", self.place + unit)
        self.unrecorded, self.recorded_at = [], time.monotonic()

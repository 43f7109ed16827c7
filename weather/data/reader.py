"""States from disk into memory that is already there, by the fastest correct path.

A *plane* is one channel of one state, [lat, lon]. Where planes lie unfiltered as little-endian float32 (contiguous
or chunked by whole planes), their byte offsets are known, and runs of adjacent planes are read straight into the
buffer with `preadv`, which releases the interpreter lock. Everything else (compressed, other types) goes through
h5py, which decompresses whole slabs; channels are then picked in memory, for h5py's own selection is slow.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence

import h5py
import numpy as np

from weather.data.archive import Split
from weather.data.year_file import FIELDS, Header, open_for_reading
from weather.errors import DataError


class StateReader:
    """Reads states of a split; safe to use from several threads. Files are opened when first needed.

    Args:
        split: the year files.
        channels: positions of the wanted channels in the files, in the order wanted.
    """

    def __init__(self, split: Split, channels: Sequence[int]) -> None:
        self.split = split
        self.channels = np.asarray(channels, np.int64)
        self._files: dict[int, _DirectFile | _LibraryFile] = {}
        self._lock = threading.Lock()
        self._whole = threading.local()

    def read(self, states: np.ndarray, out: np.ndarray) -> None:
        """Fill `out` [len(states), C, lat, lon] float32 with the given states of the split, in physical units.

        Raises:
            DataError: a state cannot be read; names file, dataset and index.
        """
        if self.split.coarsening is None:
            self._read(states, out)
            return
        # One state at a time, into memory that each thread keeps: a whole sample of a fine grid may be gigabytes.
        whole: np.ndarray | None = getattr(self._whole, "state", None)
        if whole is None:
            whole = np.empty((1, len(self.channels), *self.split.headers[0].grid), np.float32)
            self._whole.state = whole
        for state, coarse in zip(states[:, None], out, strict=True):
            self._read(state, whole)
            self.split.coarsening.apply(whole[0], coarse)

    def _read(self, states: np.ndarray, out: np.ndarray) -> None:
        files = np.searchsorted(self.split.first_states, states, side="right") - 1
        indices = states - self.split.first_states[files]
        bounds = [0, *(np.flatnonzero(np.diff(files)) + 1).tolist(), len(states)]
        for begin, end in zip(bounds[:-1], bounds[1:], strict=True):
            self._file(int(files[begin])).read(indices[begin:end], self.channels, out[begin:end])

    def close(self) -> None:
        with self._lock:
            for file in self._files.values():
                file.close()
            self._files.clear()

    def _file(self, number: int) -> _DirectFile | _LibraryFile:
        file = self._files.get(number)
        if file is None:
            with self._lock:
                file = self._files.get(number)
                if file is None:
                    file = self._files[number] = _open(self.split.headers[number])
        return file


def _open(header: Header) -> _DirectFile | _LibraryFile:
    file = open_for_reading(header.path)
    fields = file[FIELDS]
    if fields.shape != header.shape:
        raise DataError(f"shape is now {fields.shape}, was {header.shape} at the start", where=header.where)
    offsets = plane_offsets(fields)
    if offsets is None or not hasattr(os, "preadv"):
        return _LibraryFile(header, file)
    file.close()
    return _DirectFile(header, offsets)


def plane_offsets(fields: h5py.Dataset) -> np.ndarray | None:
    """Byte offset [time, channel] of each plane in the file, or None where planes do not lie there as plain float32."""
    plain = fields.dtype == np.dtype("<f4") and sys.byteorder == "little" and not fields.external
    if not plain or fields.is_virtual:
        return None
    states, channels, rows, columns = fields.shape
    plane = rows * columns * 4
    if fields.chunks is None:
        start = fields.id.get_offset()
        if start is None:
            return None
        return start + plane * np.arange(states * channels).reshape(states, channels)
    chunk_states, chunk_channels, chunk_rows, chunk_columns = fields.chunks
    if (chunk_rows, chunk_columns) != (rows, columns) or fields.id.get_create_plist().get_nfilters():
        return None
    blocks = (-(-states // chunk_states), -(-channels // chunk_channels))
    starts = np.full(blocks, -1, np.int64)

    def take(chunk: h5py.h5d.StoreInfo) -> None:
        time, channel = chunk.chunk_offset[:2]
        starts[time // chunk_states, channel // chunk_channels] = chunk.byte_offset

    fields.id.chunk_iter(take)
    if (starts < 0).any():  # a chunk that was never written holds the fill value: leave that to the library
        return None
    time, channel = np.arange(states)[:, None], np.arange(channels)[None, :]
    within = (time % chunk_states) * chunk_channels + channel % chunk_channels
    return starts[time // chunk_states, channel // chunk_channels] + plane * within


def bytes_touched(fields: h5py.Dataset, channels: Sequence[int]) -> int:
    """Bytes, before compression, that reading these channels of one state takes out of the file as this reader does.

    HDF5 reads whole chunks, which may hold other channels and other states; those that its cache still has are not
    taken into account.
    """
    _, all_channels, rows, columns = fields.shape
    plane = rows * columns * fields.dtype.itemsize
    if plane_offsets(fields) is not None and hasattr(os, "preadv"):
        return len(channels) * plane
    if fields.chunks is None:
        return all_channels * plane
    _, chunk_channels, chunk_rows, chunk_columns = fields.chunks
    wanted = len(channels) if chunk_channels == 1 else -(-all_channels // chunk_channels)
    chunks = wanted * -(-rows // chunk_rows) * -(-columns // chunk_columns)
    return int(chunks * np.prod(fields.chunks) * fields.dtype.itemsize)


class _DirectFile:
    """A year file whose planes lie open."""

    def __init__(self, header: Header, offsets: np.ndarray) -> None:
        self.header = header
        self.offsets = offsets
        self.plane = header.grid[0] * header.grid[1] * 4
        self.descriptor = os.open(header.path, os.O_RDONLY)

    def read(self, indices: np.ndarray, channels: np.ndarray, out: np.ndarray) -> None:
        offsets = self.offsets[indices[:, None], channels].reshape(-1)
        breaks = np.flatnonzero(np.diff(offsets) != self.plane) + 1
        bounds = [0, *breaks.tolist(), offsets.size]
        target = memoryview(out.reshape(-1).view(np.uint8).data)
        for begin, end in zip(bounds[:-1], bounds[1:], strict=True):
            self._fill(
                target[begin * self.plane : end * self.plane], int(offsets[begin]), begin, indices, len(channels)
            )

    def _fill(self, target: memoryview, offset: int, plane: int, indices: np.ndarray, channels: int) -> None:
        done = 0
        while done < len(target):
            try:
                count = os.preadv(self.descriptor, [target[done:]], offset + done)
            except OSError as error:
                index = int(indices[(plane + done // self.plane) // channels])
                raise DataError(f"cannot read ({error})", where=f"{self.header.where}, time index {index}") from error
            if count == 0:
                index = int(indices[(plane + done // self.plane) // channels])
                raise DataError(
                    f"the file ends at byte {offset + done}",
                    where=f"{self.header.where}, time index {index}",
                    fix="it is truncated: copy or write it again",
                )
            done += count

    def close(self) -> None:
        os.close(self.descriptor)


class _LibraryFile:
    """A year file that h5py reads: compressed, chunked within planes, float16 or float64."""

    def __init__(self, header: Header, file: h5py.File) -> None:
        self.header = header
        self.file = file
        self.fields = file[FIELDS]
        self.descriptor = file.id.get_vfd_handle()
        self.size = os.fstat(self.descriptor).st_size
        self.by_plane = self.fields.chunks is not None and self.fields.chunks[1] == 1

    def read(self, indices: np.ndarray, channels: np.ndarray, out: np.ndarray) -> None:
        whole = np.array_equal(channels, np.arange(self.header.shape[1]))
        for row, index in enumerate(indices.tolist()):
            try:
                # HDF5 gives zeros for what lies behind the end of a file.
                if os.fstat(self.descriptor).st_size < self.size:
                    raise OSError("the file has become shorter")
                if whole:
                    self.fields.read_direct(out[row], np.s_[index])
                elif self.by_plane:
                    for position, channel in enumerate(channels.tolist()):
                        self.fields.read_direct(out[row, position], np.s_[index, channel])
                else:
                    np.copyto(out[row], self.fields[index][channels])
            except OSError as error:
                raise DataError(
                    f"cannot read ({' '.join(str(error).split())})",
                    where=f"{self.header.where}, time index {index}",
                    fix="the file is damaged: copy or write it again",
                ) from error

    def close(self) -> None:
        self.file.close()

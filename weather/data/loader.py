"""Batches on the device: reader threads fill a ring of reused buffers, some batches ahead of the model.

Fresh memory for each batch (page faults) is what makes loaders slow, so the buffers are allocated once and reused.
On CUDA they are pinned, and a batch is copied while the device still computes with the one before it; a buffer is
filled again only after its copy is done. On CPU the batch *is* the buffer, and is valid until the next one is asked
for.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import numpy as np
import torch

from weather.data.archive import Archive, Split
from weather.data.reader import StateReader
from weather.data.statistics import Statistics
from weather.errors import DataError

RING = 4  # buffers: one in use, three ahead
LARGE_BUFFER = 2**28  # bytes from which two buffers must do


@dataclass(frozen=True)
class Samples:
    """The samples of one split that a run uses.

    Attributes:
        starts: [samples] first state of each sample.
        sequence_length: input states; dt: steps from the last input to the target.
    """

    split: Split
    starts: np.ndarray
    sequence_length: int
    dt: int

    def __len__(self) -> int:
        return len(self.starts)

    def states(self, position: int) -> np.ndarray:
        """States [sequence_length + 1] of one sample: the inputs, then the target."""
        start = self.starts[position]
        return np.append(start + np.arange(self.sequence_length), start + self.sequence_length - 1 + self.dt)

    def input_times(self, positions: np.ndarray) -> np.ndarray | None:
        """Times [batch, sequence_length] of the input states, or None where the archive has no time stamps."""
        if self.split.time is None:
            return None
        return self.split.time[self.starts[positions][:, None] + np.arange(self.sequence_length)]

    def check_finite(self, archive: Archive) -> None:
        """Read every state of the samples and refuse a value that is not finite.

        Raises:
            DataError: naming the first such value.
        """
        states = np.unique(np.concatenate([self.states(position) for position in range(len(self))]))
        check_finite(archive, self.split, states.tolist())


@dataclass(frozen=True)
class Batch:
    """Raw fields in physical units, on the device.

    Attributes:
        fields: [batch, sequence_length + 1, channel, lat, lon] float32; the last state is the target.
        positions: [batch] sample positions, on the host.
    """

    fields: torch.Tensor
    positions: np.ndarray


class BatchLoader:
    """Reads the batches that an order asks for, ahead of their use.

    Args:
        samples: what may be asked for.
        channels: positions of the channels in the files.
        batch_size: largest number of samples in one batch.
        device: where batches go.
        threads: reader threads; 0 reads in the calling thread.
    """

    def __init__(
        self, samples: Samples, channels: Sequence[int], *, batch_size: int, device: torch.device, threads: int
    ) -> None:
        self.samples = samples
        self.device = device
        self.reader = StateReader(samples.split, channels)
        self.threads = ThreadPoolExecutor(threads, thread_name_prefix="reader") if threads else None
        shape = (batch_size, samples.sequence_length + 1, len(channels), *samples.split.grid)
        ring = (2 if 4 * math.prod(shape) >= LARGE_BUFFER else RING) if threads else 1
        self._buffers = [torch.zeros(shape, pin_memory=device.type == "cuda") for _ in range(ring)]
        self._copied: list[torch.cuda.Event | None] = [None] * ring
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._begun: torch.cuda.Event | None = None  # when the device began with the last batch
        self.waited_seconds = 0.0

    def batches(self, order: Iterable[np.ndarray]) -> Iterator[Batch]:
        """Batches of the sample positions that `order` gives, in that order.

        Raises:
            DataError: a state cannot be read.
        """
        asked = iter(order)
        pending: deque[tuple[int, np.ndarray, list[Future[None]]]] = deque()
        slot = 0
        ahead = len(self._buffers) - 1  # one buffer is always in the caller's hands

        def top_up(target: int) -> None:
            nonlocal slot
            while len(pending) < target and (positions := next(asked, None)) is not None:
                pending.append((slot, positions, self._start_filling(slot, positions)))
                slot = (slot + 1) % len(self._buffers)

        try:
            while True:
                top_up(max(1, ahead))
                if not pending:
                    return
                ready, positions, reads = pending.popleft()
                top_up(ahead)
                began = time.perf_counter()
                for read in reads:
                    read.result()
                self.waited_seconds += time.perf_counter() - began
                yield Batch(self._to_device(ready, len(positions)), positions)
        finally:
            # An order that is left early must not fill buffers that a later one uses.
            wait([read for _, _, reads in pending for read in reads if not read.cancel()])

    def close(self) -> None:
        """Stop the threads and close the files."""
        if self.threads is not None:
            self.threads.shutdown(wait=True, cancel_futures=True)
        self.reader.close()

    def _start_filling(self, slot: int, positions: np.ndarray) -> list[Future[None]]:
        copied = self._copied[slot]
        if copied is not None:
            copied.synchronize()
        buffer = self._buffers[slot].numpy()
        if self.threads is None:
            began = time.perf_counter()
            for row, position in enumerate(positions):
                self._read_sample(int(position), buffer[row])
            self.waited_seconds += time.perf_counter() - began
            return []
        return [self.threads.submit(self._read_sample, int(p), buffer[row]) for row, p in enumerate(positions)]

    def _read_sample(self, position: int, out: np.ndarray) -> None:
        self.reader.read(self.samples.states(position), out)

    def _to_device(self, slot: int, count: int) -> torch.Tensor:
        host = self._buffers[slot][:count]
        if self._copies is None:
            # Asynchronous copies to MPS have been seen to arrive wrong.
            return host if self.device.type == "cpu" else host.to(self.device)
        if self._begun is not None:
            # Whoever asks far ahead of the device would fill its memory with batches.
            self._copies.wait_event(self._begun)
        with torch.cuda.stream(self._copies):
            fields = host.to(self.device, non_blocking=True)
            self._copied[slot] = self._copies.record_event()
        computing = torch.cuda.current_stream(self.device)
        computing.wait_stream(self._copies)
        fields.record_stream(computing)  # or its memory were given to the next copy while it is still read
        self._begun = computing.record_event()
        return fields


class Normalizer:
    """Physical units to standard scores and back, on the device in float32, one fused pass each way.

    Args:
        statistics: mean and standard deviation of each channel.
        device: where fields are.
    """

    def __init__(self, statistics: Statistics, device: torch.device) -> None:
        mean = torch.from_numpy(statistics.means.astype(np.float64))
        std = torch.from_numpy(statistics.stds.astype(np.float64))
        self.mean, self.std, self.scale, self.shift = (
            values.to(torch.float32).reshape(-1, 1, 1).to(device) for values in (mean, std, 1 / std, -mean / std)
        )

    def normalize(self, fields: torch.Tensor) -> torch.Tensor:
        """(fields - mean) / std over [..., channel, lat, lon]."""
        return torch.addcmul(self.shift, fields, self.scale)

    def restore(self, scores: torch.Tensor) -> torch.Tensor:
        """scores * std + mean; takes the first channels where the model forecasts fewer than it sees."""
        channels = scores.shape[-3]
        return torch.addcmul(self.mean[:channels], scores, self.std[:channels])


def sampled_states(split: Split, count: int) -> np.ndarray:
    """At most `count` states spread over a split, the first and the last among them."""
    return np.unique(np.linspace(0, split.states - 1, min(count, split.states)).round().astype(np.int64))


def check_finite(archive: Archive, split: Split, states: Iterable[int]) -> None:
    """Read states and refuse a value that is not finite.

    Raises:
        DataError: naming file, dataset, time index, channel and grid point of the first such value.
    """
    reader = StateReader(split, archive.channel_indices)
    fields = np.empty((1, len(archive.channels), *archive.grid), np.float32)
    try:
        for state in states:
            reader.read(np.array([state]), fields)
            if not np.isfinite(fields).all():
                _, channel, row, column = (int(i[0]) for i in np.nonzero(~np.isfinite(fields)))
                raise DataError(
                    f"{fields[0, channel, row, column]} in channel '{archive.channels[channel]}' at [{row}, {column}]"
                    f"{' of the coarsened grid' if split.coarsening else ''}, "
                    f"one of {int((~np.isfinite(fields)).sum())} values of this state that are not finite",
                    where=split.describe(int(state)),
                    rule="fields are finite numbers",
                    fix="fill or drop the state, or leave the channel out (data.channels)",
                )
    finally:
        reader.close()

"""Batches on the device: reader threads fill a ring of reused buffers, some batches ahead of the model.

Fresh memory for each batch (page faults) is what makes loaders slow, so the buffers are allocated once and reused.
On CUDA they are pinned and copied asynchronously; a buffer is filled again only after its copy is done. On CPU the
batch *is* the buffer, and is valid until the next one is asked for.
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
        sequence_length: input states; dt: steps from the last input to the target, where none else is asked for.
    """

    split: Split
    starts: np.ndarray
    sequence_length: int
    dt: int

    def __len__(self) -> int:
        return len(self.starts)

    def states(self, position: int, *, forecasts: int = 1, lead: int | None = None) -> np.ndarray:
        """States [sequence_length + forecasts] of one sample: the inputs, then the target of each forecast in a row.

        Args:
            lead: steps that one forecast covers; None: `dt`.
        """
        start, lead = self.starts[position], self.dt if lead is None else lead
        newest = start + self.sequence_length - 1
        return np.append(start + np.arange(self.sequence_length), newest + lead * np.arange(1, forecasts + 1))

    def input_times(self, positions: np.ndarray) -> np.ndarray | None:
        """Times [batch, sequence_length] of the input states, or None where the archive has no time stamps."""
        if self.split.time is None:
            return None
        return self.split.time[self.starts[positions][:, None] + np.arange(self.sequence_length)]

    def times(self, positions: np.ndarray, *, forecasts: int = 1, leads: np.ndarray | None = None) -> np.ndarray | None:
        """Times [batch, sequence_length + forecasts] of the states of some samples, as `states` orders them.

        Args:
            leads: [batch] steps that one forecast of each sample covers; None: `dt`.
        """
        if self.split.time is None:
            return None
        each = np.full(len(positions), self.dt) if leads is None else leads
        first = self.starts[positions][:, None]
        targets = first + self.sequence_length - 1 + each[:, None] * np.arange(1, forecasts + 1)
        return self.split.time[np.concatenate([first + np.arange(self.sequence_length), targets], axis=1)]

    def wanted_states(self, wanted: Wanted) -> np.ndarray:
        """All states of some samples, each once."""
        leads = [None] * len(wanted.positions) if wanted.leads is None else wanted.leads.tolist()
        each = [
            self.states(int(position), forecasts=wanted.forecasts, lead=lead)
            for position, lead in zip(wanted.positions, leads, strict=True)
        ]
        return np.unique(np.concatenate(each))

    def check_finite(self, archive: Archive) -> None:
        """Read every state of the samples and refuse a value that is not finite.

        Raises:
            DataError: naming the first such value.
        """
        check_finite(archive, self.split, self.wanted_states(Wanted(np.arange(len(self)))).tolist())


@dataclass(frozen=True)
class Wanted:
    """Samples that a batch is to hold.

    Attributes:
        positions: [batch] sample positions.
        forecasts: in a row, each with its target.
        leads: [batch] steps that one forecast of each sample covers; None: the samples' `dt`.
    """

    positions: np.ndarray
    forecasts: int = 1
    leads: np.ndarray | None = None


@dataclass(frozen=True)
class Batch:
    """Raw fields in physical units, on the device.

    Attributes:
        fields: [batch, sequence_length + forecasts, channel, lat, lon] float32; the inputs, then the targets.
        positions: [batch] sample positions, on the host.
        leads: [batch] steps that one forecast of each sample covers, on the host; None: the samples' `dt`.
    """

    fields: torch.Tensor
    positions: np.ndarray
    leads: np.ndarray | None = None


class BatchLoader:
    """Reads the batches that an order asks for, ahead of their use.

    Args:
        samples: what may be asked for.
        channels: positions of the channels in the files.
        batch_size: largest number of samples in one batch.
        device: where batches go.
        threads: reader threads; 0 reads in the calling thread.
        forecasts: most forecasts in a row that may be asked for.
    """

    def __init__(
        self,
        samples: Samples,
        channels: Sequence[int],
        *,
        batch_size: int,
        device: torch.device,
        threads: int,
        forecasts: int = 1,
    ) -> None:
        self.samples = samples
        self.device = device
        self.reader = StateReader(samples.split, channels)
        self.threads = ThreadPoolExecutor(threads, thread_name_prefix="reader") if threads else None
        self.state_shape = (len(channels), *samples.split.grid)
        shape = (batch_size, samples.sequence_length + forecasts, *self.state_shape)
        ring = (2 if 4 * math.prod(shape) >= LARGE_BUFFER else RING) if threads else 1
        self._buffers = [torch.zeros(shape, pin_memory=device.type == "cuda") for _ in range(ring)]
        self._copied: list[torch.cuda.Event | None] = [None] * ring
        self.waited_seconds = 0.0

    def batches(self, order: Iterable[np.ndarray | Wanted]) -> Iterator[Batch]:
        """Batches of the samples that `order` gives, by position or as `Wanted`, in that order.

        Raises:
            DataError: a state cannot be read.
        """
        asked = iter(order)
        pending: deque[tuple[torch.Tensor, int, Wanted, list[Future[None]]]] = deque()
        slot = 0
        ahead = len(self._buffers) - 1  # one buffer is always in the caller's hands

        def top_up(target: int) -> None:
            nonlocal slot
            while len(pending) < target and (found := next(asked, None)) is not None:
                wanted = found if isinstance(found, Wanted) else Wanted(found)
                host = self._view(slot, wanted)
                pending.append((host, slot, wanted, self._start_filling(host, slot, wanted)))
                slot = (slot + 1) % len(self._buffers)

        try:
            while True:
                top_up(max(1, ahead))
                if not pending:
                    return
                host, ready, wanted, reads = pending.popleft()
                top_up(ahead)
                began = time.perf_counter()
                for read in reads:
                    read.result()
                self.waited_seconds += time.perf_counter() - began
                yield Batch(self._to_device(host, ready), wanted.positions, wanted.leads)
        finally:
            # An order that is left early must not fill buffers that a later one uses.
            wait([read for *_, reads in pending for read in reads if not read.cancel()])

    def close(self) -> None:
        """Stop the threads and close the files."""
        if self.threads is not None:
            self.threads.shutdown(wait=True, cancel_futures=True)
        self.reader.close()

    def _view(self, slot: int, wanted: Wanted) -> torch.Tensor:
        """The front of a buffer as fields of this batch: whole and contiguous, so that it is copied in one piece."""
        shape = (len(wanted.positions), self.samples.sequence_length + wanted.forecasts, *self.state_shape)
        return self._buffers[slot].view(-1)[: math.prod(shape)].view(shape)

    def _start_filling(self, host: torch.Tensor, slot: int, wanted: Wanted) -> list[Future[None]]:
        copied = self._copied[slot]
        if copied is not None:
            copied.synchronize()
        leads = [None] * len(host) if wanted.leads is None else wanted.leads.tolist()
        reads = [(int(p), row, lead) for p, row, lead in zip(wanted.positions, host.numpy(), leads, strict=True)]
        if self.threads is None:
            began = time.perf_counter()
            for read in reads:
                self._read_sample(*read)
            self.waited_seconds += time.perf_counter() - began
            return []
        return [self.threads.submit(self._read_sample, *read) for read in reads]

    def _read_sample(self, position: int, out: np.ndarray, lead: int | None) -> None:
        forecasts = len(out) - self.samples.sequence_length
        self.reader.read(self.samples.states(position, forecasts=forecasts, lead=lead), out)

    def _to_device(self, host: torch.Tensor, slot: int) -> torch.Tensor:
        if self.device.type == "cpu":
            return host
        # Asynchronous copies to MPS have been seen to arrive wrong; CUDA's are ordered by the event.
        fields = host.to(self.device, non_blocking=self.device.type == "cuda")
        if self.device.type == "cuda":
            event = torch.cuda.Event()
            event.record()
            self._copied[slot] = event
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

"""The loader's bytes per second beside a plain read of the same file, and beside a copy of the same bytes in memory."""

from __future__ import annotations

import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from weather.benchmarks.random_archive import write_random_states
from weather.benchmarks.timing import share, take_turns
from weather.data.archive import open_split
from weather.data.loader import BatchLoader, Samples
from weather.data.order import epoch_order


def measure_loader(
    *,
    layout: str,
    states: int,
    channels: int,
    grid: tuple[int, int],
    batch: int,
    threads: int,
    rounds: int,
    folder: str,
) -> dict[str, Any]:
    """Rates of loading shuffled batches from a file of this layout, from the page cache.

    Returns:
        GB/s of the loader, of a plain sequential read into one buffer, and of memcpy; and the shares.
    """
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        path = Path(temporary) / "train" / "year.h5"
        write_random_states(path, states=states, channels=channels, grid=grid, layout=layout)
        split = open_split(Path(temporary), "train")
        samples = Samples(split, split.starts(1, 1), 1, 1)
        device = torch.device("cpu")
        loader = BatchLoader(samples, range(channels), batch_size=batch, device=device, threads=threads)
        plane_bytes = channels * grid[0] * grid[1] * 4
        batches = len(samples) // batch
        turn = iter(range(1_000_000))

        def shuffled() -> list[np.ndarray]:
            order = epoch_order(0, next(turn), len(samples))
            return [order[i * batch : (i + 1) * batch] for i in range(batches)]

        def load() -> float:
            for _ in loader.batches(shuffled()):
                pass
            return float(batches * batch * 2 * plane_bytes)

        # The same samples in an order of the same kind, from an array in memory into one buffer.
        source = torch.zeros(states, channels, *grid)
        target = torch.zeros(batch, 2, channels, *grid)
        loader.reader.read(np.arange(states), source.numpy())

        def memcpy() -> float:
            for positions in shuffled():
                for row, position in enumerate(positions.tolist()):
                    target[row].copy_(source[position : position + 2])
            return float(batches * batch * 2 * plane_bytes)

        buffer = memoryview(bytearray(batch * 2 * plane_bytes))

        def plain_read() -> float:
            total = 0
            with open(path, "rb", buffering=0) as file:
                while count := os.readv(file.fileno(), [buffer]):
                    total += count
            return float(total)

        # A copy takes as many threads as the loader has, no more.
        before = torch.get_num_threads()
        torch.set_num_threads(max(1, threads))
        try:
            rates = take_turns({"loader": load, "plain read": plain_read, "memcpy": memcpy}, rounds, device)
        finally:
            torch.set_num_threads(before)
            loader.close()
    return {
        "layout": layout,
        "threads": threads,
        "batch": batch,
        "state_megabytes": plane_bytes / 1e6,
        "gigabytes_per_second": {name: statistics.median(values) / 1e9 for name, values in rates.items()},
        "loader_share_of_memcpy": share(rates, "loader", "memcpy"),
        "loader_share_of_plain_read": share(rates, "loader", "plain read"),
    }

"""What a checkpoint costs a run: the stall, the time the training loses, and the disk's own rate beside."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from weather.benchmarks.workload import Workload
from weather.config.wrapper import ConfigWrapper
from weather.runtime.device import choose_device, wait_for
from weather.runtime.ranks import Ranks
from weather.training.checkpoint import Progress
from weather.training.checkpoint_store import CheckpointStore, Saving


def measure_checkpoint(
    config: ConfigWrapper, *, device: str, batch: int, rounds: int, folder: str | None
) -> dict[str, Any]:
    """Saves of a model of `config` in a single process, beside its training, with and without waiting for them.

    Each round trains for as long as an asynchronous save needs, once without and once with it: the difference is what
    the save costs, its stall and what it slows the steps down by.

    Args:
        folder: where the checkpoints are written; None: the system's temporary folder.

    Returns:
        Medians over the rounds: seconds of a save that is waited for, stall and lost seconds of one in the background,
        the share of training that the latter is at one save a minute, and bytes per second beside those of `dd` with
        fsync of as many bytes to the same folder.
    """
    chosen = choose_device(device, config.training.precision, Ranks())
    workload = Workload(config, chosen, batch)
    our = workload.our_step("single", Ranks())

    def step() -> float:
        """Train a step; gives the time at its end."""
        our.step()
        wait_for(chosen.torch_device)
        return time.monotonic()

    step()  # the first one warms up
    with tempfile.TemporaryDirectory(dir=folder) as place:
        background = CheckpointStore(Path(place) / "background", 1)
        foreground = CheckpointStore(Path(place) / "foreground", 1, asynchronous=False)

        def save(store: CheckpointStore, step: int) -> Saving:
            return store.save(f"checkpoint_step_{step}", our.strategy.state_dict, Progress(step=step), workload.facts)

        save(background, 1)  # makes the buffers, and is not counted
        background.wait()
        waited, stalls, lost, rates, disk = [], [], [], [], []
        for turn in range(2, rounds + 2):
            saving = save(foreground, turn)
            (done,) = foreground.finished()
            waited.append(saving.stall_seconds)
            rates.append(done.bytes / saving.stall_seconds)
            disk.append(done.bytes / write_with_dd(Path(place) / "plain", done.bytes))
            # At least as long as the save will take beside the training, which it shares the processor with.
            span = max(2.0, 3 * saving.stall_seconds)
            began = now = step()
            plain_steps = 0
            while now - began < span:
                now, plain_steps = step(), plain_steps + 1
            seconds_per_step = (now - began) / plain_steps
            began = now = time.monotonic()
            stalls.append(save(background, turn).stall_seconds)
            steps, complete = 0, False
            while not complete or now - began < span:
                now, steps = step(), steps + 1
                complete = complete or bool(background.finished())
            lost.append(now - began - steps * seconds_per_step)
    size = statistics.median(rates) * statistics.median(waited)
    return {
        "config": str(config.experiment.name),
        "device": chosen.name,
        "threads": torch.get_num_threads(),
        "parameters": sum(p.numel() for p in our.strategy.model.parameters()),
        "megabytes": size / 1e6,
        "save_seconds_waited_for": statistics.median(waited),
        "stall_seconds": statistics.median(stalls),
        "stall_over_save_waited_for": statistics.median(a / b for a, b in zip(stalls, waited, strict=True)),
        "lost_seconds": statistics.median(lost),
        "share_of_training_at_a_save_a_minute": {
            "stall": statistics.median(stalls) / 60,
            "lost": statistics.median(lost) / 60,
        },
        "megabytes_per_second": {"save": statistics.median(rates) / 1e6, "dd": statistics.median(disk) / 1e6},
        "save_over_dd": statistics.median(a / b for a, b in zip(rates, disk, strict=True)),
    }


def write_with_dd(path: Path, size: int) -> float:
    """Seconds that `dd` takes to write and fsync `size` bytes."""
    megabyte = 2**20
    command = ["dd", "if=/dev/zero", f"of={path}", f"bs={megabyte}", f"count={-(-size // megabyte)}", "conv=fsync"]
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    seconds = time.monotonic() - began
    path.unlink()
    return seconds

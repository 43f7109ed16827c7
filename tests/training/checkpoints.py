"""Small checkpoints for tests: what is in them follows from their step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from weather.training.checkpoint import Progress
from weather.training.checkpoint_store import CheckpointStore

FACTS: dict[str, Any] = {
    "config": {"training": {"seed": 1}},
    "samples": {"means": [0.5]},
    "strategy": "single",
    "world_size": 1,
}


def tensors(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "model.weight": torch.randn(40, 30, generator=generator),
        "model.bias": torch.randn(30, generator=generator),
        "optimizer.step.weight": torch.tensor(float(seed)),
        "empty": torch.empty(0, 3),
    }


def blank() -> dict[str, torch.Tensor]:
    return {name: torch.full_like(tensor, torch.nan) for name, tensor in tensors().items()}


def save(store: CheckpointStore, step: int, name: str = "", loss: float | None = None) -> Path:
    """A checkpoint of `step`, whose tensors are those of the seed `step`."""
    progress = Progress(step=step, epoch=step // 10, samples=4 * step, flops=step * 10**18, validation_loss=loss)
    return saved(store, name or f"checkpoint_step_{step}", tensors(step), progress)


def saved(store: CheckpointStore, name: str, state: dict[str, torch.Tensor], progress: Progress) -> Path:
    """A checkpoint that is complete."""
    saving = store.save(name, lambda: state, progress, FACTS)
    store.wait()
    return saving.path


def flip(file: Path, where: float = 0.5) -> None:
    """Flip one bit of a file, at a fraction of its length."""
    data = bytearray(file.read_bytes())
    data[int(where * (len(data) - 1))] ^= 1
    file.write_bytes(data)


def shard(path: Path) -> Path:
    """The file of tensors of a checkpoint that one rank wrote."""
    (found,) = path.glob("*.distcp")
    return found

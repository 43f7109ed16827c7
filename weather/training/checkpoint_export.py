"""Writes the weights of a checkpoint as one file, for other programs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

from weather.errors import CheckpointError
from weather.training.checkpoint import load_tensors, read_checkpoint
from weather.training.checkpoint_reader import TensorReader
from weather.training.checkpoint_verify import verify

Write = Callable[[dict[str, torch.Tensor], dict[str, Any], Path], None]


def export(path: Path, out: Path, *, average: bool | None, force: bool) -> str:
    """Export a verified checkpoint's weights, and no moments, under the model's own parameter names.

    A ``.pt`` holds ``{"weights": {name: tensor}, "config": ..., "step": ..., "average": bool}`` and can be loaded with
    ``torch.load(..., weights_only=True)``; a ``.safetensors`` holds the weights, and the rest as strings in its
    metadata. It is written to a temporary name and renamed.

    Args:
        average: export the moving average of the weights; None takes it if there is one, as `weather.evaluate` does.
        force: replace `out`.

    Returns:
        What was written, in words.

    Raises:
        CheckpointError: the checkpoint is damaged or keeps no average; `out` exists or cannot be written.
    """
    write = _writer(out)
    if out.exists() and not force:
        raise CheckpointError("it exists already", where=out, fix="give another name, or --force")
    checkpoint = read_checkpoint(path)
    verify(checkpoint)
    entries = TensorReader(path).read_metadata().state_dict_metadata
    averaged = any(name.startswith("average.") for name in entries)
    if average and not averaged:
        raise CheckpointError("it keeps no moving average of the weights", where=path, rule="training.ema_decay is 0")
    kind = "average." if (averaged if average is None else average) else "model."
    state = {
        name: torch.empty(entry.size, dtype=entry.properties.dtype)
        for name, entry in entries.items()
        if name.startswith(kind) and isinstance(entry, TensorStorageMetadata)
    }
    load_tensors(path, state)
    weights = {name.removeprefix(kind): tensor for name, tensor in state.items()}
    facts = {"config": checkpoint.config, "step": checkpoint.progress.step, "average": kind == "average."}
    partial = out.with_name(out.name + ".partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write(weights, facts, partial)
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, out)
    except (OSError, RuntimeError) as error:  # torch.save of a full disk raises the latter
        partial.unlink(missing_ok=True)
        raise CheckpointError(f"cannot be written ({' '.join(str(error).split())[:200]})", where=out) from error
    what = "the moving average of the weights" if kind == "average." else "the weights"
    count = sum(tensor.numel() for tensor in weights.values())
    return f"{what} of step {checkpoint.progress.step}, {count / 1e6:.2f} M parameters in {len(weights)} tensors"


def _writer(out: Path) -> Write:
    if out.suffix == ".pt":
        return lambda weights, facts, path: torch.save({"weights": weights, **facts}, path)
    if out.suffix != ".safetensors":
        raise CheckpointError(f"cannot write '{out.suffix}'", where=out, rule="a name ends in .pt or .safetensors")
    try:
        from safetensors.torch import save_file
    except ModuleNotFoundError as error:
        raise CheckpointError("safetensors is not installed", where=out, fix="pip install safetensors") from error

    def write(weights: dict[str, torch.Tensor], facts: dict[str, Any], path: Path) -> None:
        save_file(weights, str(path), metadata={"format": "pt", **{k: json.dumps(v) for k, v in facts.items()}})

    return write

"""The copy in host memory that a checkpoint is written from while training goes on."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor

from weather.strategies.inspection import own_slice


class Snapshot:
    """Copies tensors to host memory that is kept from one save to the next; pinned where a GPU copies into it."""

    def __init__(self) -> None:
        self._buffers: dict[str, torch.Tensor] = {}

    def take(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """A copy of `state` that no later change of a weight reaches; the copy before it is overwritten.

        A `DTensor` stays one, with its shard in host memory.
        """
        with torch.no_grad():
            self._buffers = {name: self._copy(name, tensor) for name, tensor in state.items()}
        for device in {tensor.device for tensor in state.values() if tensor.device.type == "cuda"}:
            torch.cuda.current_stream(device).synchronize()
        return dict(self._buffers)

    def _copy(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        live = own_slice(tensor)
        kept = self._buffers.get(name)
        if kept is None or not _alike(kept, tensor):
            buffer = torch.empty(live.shape, dtype=live.dtype, pin_memory=live.device.type == "cuda")
            kept = buffer
            if isinstance(tensor, DTensor):
                kept = tensor.detach().to("cpu", copy=True)
                kept._local_tensor = buffer  # type: ignore[attr-defined] # its own is not pinned
        own_slice(kept).copy_(live, non_blocking=live.device.type == "cuda")
        return kept


def own_share(state: Mapping[str, torch.Tensor], group: dist.ProcessGroup | None) -> dict[str, torch.Tensor]:
    """What this rank is to write.

    Where all ranks hold the same plain tensors, each takes an equal part of their bytes, so that nobody copies to host
    memory what another rank will write. Shards, and plain tensors that only some ranks hold, stay where they are. All
    ranks call it together.
    """
    plain = sorted((-tensor.nbytes, name) for name, tensor in state.items() if not isinstance(tensor, DTensor))
    if not dist.is_initialized():
        return dict(state)
    names: list[str] = [""] * dist.get_world_size(group)
    dist.all_gather_object(names, hashlib.sha256(repr(plain).encode()).hexdigest(), group=group)
    if len(set(names)) > 1:
        return dict(state)
    loads = [(0, rank) for rank in range(len(names))]
    others = set()
    for negative_bytes, name in plain:
        load, rank = loads[0]
        heapq.heapreplace(loads, (load - negative_bytes, rank))
        if rank != dist.get_rank(group):
            others.add(name)
    return {name: tensor for name, tensor in state.items() if name not in others}


def _alike(kept: torch.Tensor, tensor: torch.Tensor) -> bool:
    if isinstance(tensor, DTensor) and isinstance(kept, DTensor):
        if kept.placements != tensor.placements or kept.device_mesh != tensor.device_mesh:
            return False
    elif isinstance(tensor, DTensor) or isinstance(kept, DTensor):
        return False
    ours, theirs = own_slice(kept), own_slice(tensor)
    return ours.shape == theirs.shape and ours.dtype == theirs.dtype

"""Training steps written by hand around the same wrappers, without this project's loop: what to compare with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel

from weather.runtime.device import Device

Loss = Callable[[torch.Tensor], torch.Tensor]
BareStep = Callable[[], None]


def bare_step(
    name: str, model: nn.Module, states: torch.Tensor, loss: Loss, device: Device, settings: dict[str, Any] | None
) -> BareStep:
    """One optimizer step of strategy `name`: forward, backward, clip to 1, AdamW, clear.

    Args:
        model: bare, on the device.
        states: input of one step.
        loss: of a forecast.
        settings: of DeepSpeed.
    """
    if name == "deepspeed":
        return _deepspeed(model, states, loss, device, settings or {})
    module = model
    if name == "ddp":
        ids = [device.torch_device.index] if device.torch_device.type == "cuda" else None
        module = DistributedDataParallel(model, device_ids=ids, gradient_as_bucket_view=True, static_graph=True)
    elif name == "fsdp":
        mesh = init_device_mesh(device.torch_device.type, (torch.distributed.get_world_size(),))
        half = device.autocast_dtype
        policy = MixedPrecisionPolicy(
            param_dtype=half, reduce_dtype=torch.float32 if half else None, cast_forward_inputs=False
        )
        for block in model.get_submodule("blocks").children():
            fully_shard(block, mesh=mesh, mp_policy=policy)
        fully_shard(model, mesh=mesh, mp_policy=policy, reshard_after_forward=False)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4, fused=device.torch_device.type in ("cpu", "cuda"))

    def step() -> None:
        with device.autocast():
            error = loss(module(states))
        error.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def _deepspeed(
    model: nn.Module, states: torch.Tensor, loss: Loss, device: Device, settings: dict[str, Any]
) -> BareStep:
    import deepspeed

    forward = model.forward

    def autocast_forward(inputs: torch.Tensor) -> torch.Tensor:
        with device.autocast():  # one around the engine is turned off by it
            result: torch.Tensor = forward(inputs)
            return result

    model.forward = autocast_forward  # type: ignore[method-assign]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    engine = deepspeed.initialize(model=model, optimizer=optimizer, config=settings, dist_init_required=False)[0]

    def step() -> None:
        engine.backward(loss(engine(states)))
        engine.step()

    return step

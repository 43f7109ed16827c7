"""Sharded model: each rank keeps a slice of every weight, gradient and moment (torch FSDP2, `fully_shard`).

Zhao et al. 2023 describe the method; with `training.shard_size` it is hybrid: sharded within groups of ranks (those of
a node, say), replicated between them.
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from weather.config.wrapper import ConfigWrapper
from weather.errors import ConfigError
from weather.runtime.collectives import sum_over_ranks
from weather.runtime.device import Device
from weather.runtime.ranks import Ranks
from weather.strategies.base import BuildModel, BuildOptimizer, Strategy


class FullyShardedDataParallel(Strategy):
    """Weights are gathered block by block for the forward and the backward pass, gradients reduced to their slices.

    Slices stay in float32; with bf16 or fp16, a block's weights travel and are computed with in that precision, and
    gradients are reduced in float32.
    """

    name = "fsdp"

    @classmethod
    def validate(cls, config: ConfigWrapper, ranks: Ranks, device: Device) -> None:
        super().validate(config, ranks, device)
        size = config.training.shard_size
        if size is not None and ranks.world_size % size:
            divisors = [n for n in range(1, ranks.world_size + 1) if ranks.world_size % n == 0]
            nearest = min(divisors, key=lambda n: (abs(n - size), n))
            raise ConfigError(
                f"training.shard_size = {size} with {ranks.world_size} ranks",
                rule="groups of shard_size ranks make up the world",
                fix=f"nearest valid: {nearest}",
            )
        if config.training.cpu_offload and device.precision == "fp16":
            raise ConfigError(
                "training.cpu_offload with precision fp16",
                rule="the loss scale and the gradients it scales would lie on different devices",
                fix="--precision bf16 or fp32",
            )

    def setup(self, build_model: BuildModel, build_optimizer: BuildOptimizer) -> None:
        """Shard a model without memory, then fill the slices: no rank but the first ever holds the whole model."""
        initial = build_model().state_dict() if self.ranks.first else {}
        with torch.device("meta"):
            model = build_model()
        self.compile(model)
        self.module = self.wrap(model)
        home = torch.device("cpu") if self.config.training.cpu_offload else self.device.torch_device
        model.to_empty(device=home)
        # Drawing the weights slice by slice would draw the same numbers on every rank.
        set_model_state_dict(model, initial, options=StateDictOptions(full_state_dict=True, broadcast_from_rank0=True))
        self.take_over(model, build_optimizer)

    def wrap(self, model: nn.Module) -> nn.Module:
        training, on_cpu = self.config.training, self.device.torch_device.type == "cpu"
        self.mesh = self._mesh()
        options: dict[str, Any] = {
            "mesh": self.mesh,
            # Inputs stay in float32: a tendency is added to them. Autocast takes care of the rest.
            "mp_policy": MixedPrecisionPolicy(
                param_dtype=self.device.autocast_dtype,
                reduce_dtype=torch.float32 if self.device.autocast_dtype else None,
                cast_forward_inputs=False,
            ),
        }
        if training.cpu_offload:
            options["offload_policy"] = CPUOffloadPolicy(pin_memory=not on_cpu)
        for block in model.get_submodule("blocks").children():
            fully_shard(block, reshard_after_forward=training.reshard_after_forward, **options)
        # The root's own weights (embedding, head) are needed first in the backward pass: they stay gathered.
        fully_shard(model, reshard_after_forward=False, **options)
        return model

    def _mesh(self) -> DeviceMesh:
        world, size = self.ranks.world_size, self.config.training.shard_size or self.ranks.world_size
        kind = self.device.torch_device.type
        if size == world:
            return init_device_mesh(kind, (world,), mesh_dim_names=("shard",))
        return init_device_mesh(kind, (world // size, size), mesh_dim_names=("replicate", "shard"))

    @property
    def model(self) -> nn.Module:
        return self.module

    def gradient_sync(self, is_last: bool) -> contextlib.AbstractContextManager[None]:
        assert isinstance(self.module, FSDPModule)
        self.module.set_requires_gradient_sync(is_last)
        return contextlib.nullcontext()

    def clip_gradient(self, max_norm: float) -> torch.Tensor:
        """Norm over all slices of all ranks; worked out by hand, because the slices may lie in host memory."""
        slices = [p.grad.to_local() for p in self.parameters.values() if isinstance(p.grad, DTensor)]
        squares = torch.stack([norm.square() for norm in torch._foreach_norm(slices)]).sum()
        group = self.mesh["shard"].get_group()
        norm = sum_over_ranks(squares.to(self.device.torch_device), group).sqrt()
        if max_norm > 0:
            factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)  # as torch.nn.utils.clip_grad_norm_ does
            torch._foreach_mul_(slices, factor.to(slices[0].device))
        return norm

    def publish(self) -> None:
        """Drop gathered weights: those of the root stay after a forward pass without a backward one."""
        for module in self.module.modules():
            if isinstance(module, FSDPModule):
                module.reshard()

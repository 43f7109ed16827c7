"""DeepSpeed's ZeRO: moments, gradients and weights in slices over the ranks (Rajbhandari et al. 2020).

Stage 0 slices nothing, stage 1 the optimizer's moments and fp32 weights, stage 2 gradients as well, stage 3 all
weights. The stage and what else DeepSpeed is told stand in a JSON file (`weather.strategies.deepspeed_config`).
Optimizer, schedule, accumulation and checkpoints are this project's own: a run may change between DeepSpeed and any
other strategy.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from weather.config.wrapper import ConfigWrapper
from weather.errors import ConfigError
from weather.runtime.device import Device
from weather.runtime.ranks import Ranks
from weather.strategies.base import BuildModel, BuildOptimizer, StepResult, Strategy
from weather.strategies.deepspeed_config import fill_sizes, resolve
from weather.strategies.deepspeed_package import launcher_variables, load_deepspeed, require_deepspeed
from weather.strategies.zero_fragments import ShardedStates, ShardedWeights, loss_scale, set_loss_scale


class DeepSpeed(Strategy):
    """ZeRO stages 0 to 3 through `deepspeed.initialize`.

    From stage 1 on, bf16 and fp16 mean 16-bit weights beside fp32 ones that are stepped; gradients are summed over
    micro-batches and ranks in fp32. At stage 0 the weights are fp32 and the forward pass is autocast, as with ddp.
    """

    name = "deepspeed"

    @classmethod
    def validate(cls, config: ConfigWrapper, ranks: Ranks, device: Device) -> None:
        super().validate(config, ranks, device)
        require_deepspeed()
        stage = resolve(config, cls.plan(config, ranks), device)["zero_optimization"]["stage"]
        if stage > 0 and device.kind == "cpu" and device.precision == "fp16" and not cpu_has_fp16():
            raise ConfigError(
                f"precision fp16 with ZeRO stage {stage} on this processor",
                rule="DeepSpeed refuses 16-bit weights that a processor has no instructions for",
                fix="--precision bf16 or fp32",
            )
        if stage == 3 and config.model.activation_checkpointing == "selective":
            raise ConfigError(
                "model.activation_checkpointing = selective with ZeRO stage 3",
                rule="torch takes the gathering of weights for a part of the block, and finds it done otherwise in the "
                "backward pass",
                fix="model.activation_checkpointing=full, or stage 2",
            )

    def setup(self, build_model: BuildModel, build_optimizer: BuildOptimizer) -> None:
        """Initialise and compile the model, make the optimizer, then give both to DeepSpeed, which slices them."""
        super().setup(build_model, build_optimizer)
        self.shapes = {name: parameter.shape for name, parameter in self.parameters.items()}
        self.owners = balanced_owners(self.shapes, self.ranks.world_size)
        document = fill_sizes(resolve(self.config, self.batches, self.device), self.config, self.shapes)
        self.document = document
        self.stage: int = document["zero_optimization"]["stage"]
        if self.stage > 0:
            # DeepSpeed scales the loss itself.
            self.scaler = torch.amp.GradScaler(self.device.torch_device.type, enabled=False)
        self._record(document)
        halved = self.stage > 0 and self.device.autocast_dtype is not None
        initial = {n: p.detach().to("cpu", copy=True) for n, p in self.parameters.items()} if halved else {}
        deepspeed = load_deepspeed(self.device, self.ranks)
        # At bf16 and stage 1 it prints its memory.
        with launcher_variables(self.device, self.ranks), contextlib.redirect_stdout(io.StringIO()):
            self.module = deepspeed.initialize(
                model=self.model, optimizer=self.optimizer, config=document, dist_init_required=False
            )[0]
        if self.stage > 0:
            kind = ShardedWeights if self.stage == 3 else ShardedStates
            self.pieces = kind(self.module.optimizer, self.parameters)
            if self.device.precision == "fp16":
                # A gradient that overflows at any scale is for the training loop to name.
                self.pieces.optimizer.loss_scaler.raise_error_at_min_scale = False
        if initial:
            self._start_from(initial)

    def _start_from(self, initial: Mapping[str, torch.Tensor]) -> None:
        """DeepSpeed made the fp32 weights from 16-bit ones: give them the bits that they had before."""
        for name, piece in self.weights().items():
            fragment = self.pieces.fragments[name]
            piece.copy_(initial[name].reshape(-1).narrow(0, fragment.start, fragment.length))
        self.publish()

    def _record(self, document: Mapping[str, Any]) -> None:
        """Keep what DeepSpeed was told beside the run's config."""
        folder = Path(self.config.experiment.runs_dir) / str(self.config.experiment.name)
        if self.ranks.first and folder.is_dir():
            (folder / "deepspeed.json").write_text(json.dumps(document, indent=2) + "\n")

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model with its own autocast: on a GPU DeepSpeed turns off one that is around the engine."""
        forward = model.forward

        def autocast_forward(*inputs: torch.Tensor) -> torch.Tensor:
            with self.device.autocast():
                result: torch.Tensor = forward(*inputs)
                return result

        model.forward = autocast_forward  # type: ignore[method-assign]
        self._model = model
        return model

    @property
    def model(self) -> nn.Module:
        return self._model

    @contextlib.contextmanager
    def gradient_sync(self, is_last: bool) -> Iterator[None]:
        """Stages 0 and 1 let gradients travel after the last micro-batch; 2 and 3 keep slices only, and so must after
        each."""
        self.module.set_gradient_accumulation_boundary(is_last)  # type: ignore[operator]
        yield

    def backward(self, loss: torch.Tensor) -> None:
        with torch.autocast(self.device.torch_device.type, enabled=False):
            self.module.backward(self.scaler.scale(loss))  # type: ignore[operator]  # divides by the accumulation

    def step(self, learning_rate: float, max_norm: float) -> StepResult:
        if self.stage == 0:
            return super().step(learning_rate, max_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        zero = self.pieces.optimizer
        zero.clip_grad = max_norm
        self.module.step()  # type: ignore[operator]
        norm = torch.as_tensor(zero._global_grad_norm, dtype=torch.float32, device=self.device.torch_device)
        # DeepSpeed leaves out every step whose gradient is not finite. Unless that was asked for, the run shall end.
        may_skip = self.device.precision == "fp16" or self.config.training.on_nonfinite == "skip"
        applied = not (bool(zero.overflow) and may_skip)
        return StepResult(norm, torch.tensor(float(applied), device=norm.device))

    def weights(self) -> dict[str, torch.Tensor]:
        """By canonical name this rank's fragment, 1-D and live; from stage 1 on it may be empty."""
        if self.stage == 0:
            return super().weights()
        return {name: self._part(name, fragment.flat) for name, fragment in self.pieces.fragments.items()}

    def moments(self, kind: str) -> dict[str, torch.Tensor]:
        if self.stage == 0:
            return super().moments(kind)
        return {
            name: self._part(name, None if fragment.flat is None else self.optimizer.state[fragment.flat][kind])
            for name, fragment in self.pieces.fragments.items()
        }

    def _part(self, name: str, flat: torch.Tensor | None) -> torch.Tensor:
        if flat is None:
            return torch.empty(0, device=self.device.torch_device)
        return self.pieces.fragments[name].of(flat)

    def computed_weights(self) -> dict[str, torch.Tensor]:
        if self.stage == 0:
            return super().computed_weights()
        return {name: self.pieces.computed(name) for name in self.parameters}

    def publish(self) -> None:
        if self.stage > 0:
            self.pieces.publish()

    @torch.no_grad()
    def gather(self, pieces: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Each parameter whole, float32 in host memory, on the one rank that owns it."""
        if self.stage == 0:
            return super().gather(pieces)
        whole = {}
        for name, piece in pieces.items():
            tensor = torch.zeros(self.shapes[name].numel(), device=self.device.torch_device)
            fragment = self.pieces.fragments[name]
            tensor.narrow(0, fragment.start, fragment.length).copy_(piece)
            dist.reduce(tensor, dst=self.owners[name])
            if self.owners[name] == self.ranks.rank:
                whole[name] = tensor.cpu().reshape(self.shapes[name])
        return whole

    @torch.no_grad()
    def scatter(self, tensors: Mapping[str, torch.Tensor], pieces: Mapping[str, torch.Tensor]) -> None:
        if self.stage == 0:
            super().scatter(tensors, pieces)
            return
        for name, piece in pieces.items():
            tensor = torch.empty(self.shapes[name].numel(), device=self.device.torch_device)
            if self.owners[name] == self.ranks.rank:
                tensor.copy_(tensors[name].reshape(-1))
            dist.broadcast(tensor, src=self.owners[name])
            fragment = self.pieces.fragments[name]
            piece.copy_(tensor.narrow(0, fragment.start, fragment.length))

    def scalars(self) -> dict[str, torch.Tensor]:
        if self.stage > 0 and self.device.precision == "fp16":
            return super().scalars() | loss_scale(self.pieces.optimizer)
        return super().scalars()

    def load_scalars(self, state: Mapping[str, torch.Tensor]) -> None:
        super().load_scalars(state)
        if self.stage > 0 and self.device.precision == "fp16":
            set_loss_scale(self.pieces.optimizer, state)

    def create_moments(self) -> None:
        """At stage 3 the slices are in the optimizer's groups during a step only."""
        groups = self.optimizer.param_groups
        if self.stage == 3:
            groups[0]["params"] = self.pieces.flats()
        super().create_moments()
        if self.stage == 3:
            groups[0]["params"] = []

    def gradients(self) -> Iterator[tuple[str, torch.Tensor | None]]:
        if self.stage == 0:
            yield from super().gradients()
            return
        for name in self.parameters:
            yield name, self.pieces.gradient(name)

    def close(self) -> None:
        """Take DeepSpeed's hooks off."""
        destroy = getattr(getattr(self, "module", None), "destroy", None)
        if destroy is not None:
            destroy()


def cpu_has_fp16() -> bool:
    """Whether this processor multiplies float16, as DeepSpeed asks it."""
    return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())


def balanced_owners(shapes: Mapping[str, torch.Size], world_size: int) -> dict[str, int]:
    """A rank for each parameter, so that all ranks get about as many elements; the same on every rank."""
    load = [0] * world_size
    owners = {}
    for name in sorted(shapes, key=lambda name: (-shapes[name].numel(), name)):
        owners[name] = min(range(world_size), key=lambda rank: load[rank])
        load[owners[name]] += shapes[name].numel()
    return owners

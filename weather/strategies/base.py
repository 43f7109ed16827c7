"""The contract between the training loop and a parallel strategy.

A strategy owns the model, the optimizer and the gradients' way between ranks; the loop owns everything else. For the
same config, seed and global batch, every strategy walks the same losses and weights.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from weather.config.schema import TrainingSection
from weather.config.wrapper import ConfigWrapper
from weather.errors import ConfigError
from weather.model.transformer import WeatherTransformer
from weather.runtime.compiler import missing_compiler
from weather.runtime.device import Device
from weather.runtime.ranks import Ranks
from weather.strategies.batches import BatchPlan, plan_batches
from weather.strategies.inspection import check_groups

BuildModel = Callable[[], nn.Module]
BuildOptimizer = Callable[[nn.Module], torch.optim.Optimizer]
MOMENTS = ("exp_avg", "exp_avg_sq")

#: Keys of the training section that one strategy serves, with its name.
STRATEGY_OPTIONS = {
    "shard_size": "fsdp",
    "reshard_after_forward": "fsdp",
    "cpu_offload": "fsdp",
    "deepspeed_config": "deepspeed",
}


@dataclass(frozen=True)
class StepResult:
    """What an optimizer step did; tensors stay on the device, so that nobody waits for them.

    Attributes:
        grad_norm: norm of the gradient over all parameters before clipping, a scalar.
        applied: scalar, 1 if the weights changed, 0 if the step was left out because its gradient is not finite.
    """

    grad_norm: torch.Tensor
    applied: torch.Tensor


class Strategy(ABC):
    """One way of running a model on the ranks of a job.

    Args:
        config: the resolved config.
        device: of this rank.
        ranks: the world.
    """

    name: str
    #: Whether it runs in a world of ranks that a launcher started.
    parallel = True

    def __init__(self, config: ConfigWrapper, device: Device, ranks: Ranks) -> None:
        self.config = config
        self.device = device
        self.ranks = ranks
        self.batches = self.plan(config, ranks)
        self.optimizer: torch.optim.Optimizer
        self.module: nn.Module

    @classmethod
    def validate(cls, config: ConfigWrapper, ranks: Ranks, device: Device) -> None:
        """Refuse what this strategy cannot do, before anything is allocated.

        Raises:
            ConfigError: the batch does not divide; the strategy does not fit the world or the device; an option of
                another strategy is set, which would do nothing; blocks are to be compiled where no compiler is.
        """
        if cls.parallel and ranks.launcher == "single":
            raise ConfigError(
                f"strategy '{cls.name}' without a launcher",
                where="training.strategy",
                rule="it runs in a world of ranks",
                fix=f"torchrun --nproc-per-node 2 -m weather.train --strategy {cls.name} ..., or --strategy single",
            )
        if cls.parallel and device.kind == "mps":
            raise ConfigError(
                f"strategy '{cls.name}' on mps",
                where="training.strategy",
                rule="mps serves a single process",
                fix="--strategy single",
            )
        missing = missing_compiler(device.torch_device.type) if config.model.compile == "blocks" else None
        if missing is not None:
            raise ConfigError(
                f"model.compile = blocks, but there is no compiler: {missing} is not found",
                where="model.compile",
                rule="torch.compile leaves the source that it writes to the system's compiler",
                fix="install it, or --set model.compile=none, which is slower",
            )
        for key, owner in STRATEGY_OPTIONS.items():
            if owner != cls.name and getattr(config.training, key) != TrainingSection.model_fields[key].default:
                raise ConfigError(
                    f"training.{key} with strategy '{cls.name}'",
                    rule=f"only strategy '{owner}' knows it, so that it would do nothing",
                    fix=f"leave it out, or --strategy {owner}",
                )
        cls.plan(config, ranks)

    @classmethod
    def plan(cls, config: ConfigWrapper, ranks: Ranks) -> BatchPlan:
        return plan_batches(config.training.batch_size, config.training.micro_batch_size, cls.data_ranks(ranks)[1])

    @classmethod
    def data_ranks(cls, ranks: Ranks) -> tuple[int, int]:
        """(data rank, data size): this rank among those that read different samples."""
        return ranks.rank, ranks.world_size

    @property
    def data_rank(self) -> int:
        return self.data_ranks(self.ranks)[0]

    @property
    def data_size(self) -> int:
        return self.data_ranks(self.ranks)[1]

    def setup(self, build_model: BuildModel, build_optimizer: BuildOptimizer) -> None:
        """Initialise, compile, wrap, then make the optimizer: the order that every strategy keeps.

        Activation checkpointing is part of the blocks themselves.
        """
        model = build_model().to(self.device.torch_device)
        self.compile(model)
        self.module = self.wrap(model)
        self.take_over(model, build_optimizer)

    def compile(self, model: nn.Module) -> None:
        """Compile the blocks, if the config asks for it."""
        if self.config.model.compile == "blocks":
            assert isinstance(model, WeatherTransformer)
            model.compile_blocks()

    def take_over(self, model: nn.Module, build_optimizer: BuildOptimizer) -> None:
        """Remember the parameters by canonical name and make their optimizer and loss scaling.

        Raises:
            TrainingError: the optimizer leaves out a parameter, or has one twice.
        """
        self.parameters = dict(model.named_parameters())
        self.optimizer = build_optimizer(model)
        check_groups(self.parameters, self.optimizer)
        self.scaler = torch.amp.GradScaler(self.device.torch_device.type, enabled=self.device.precision == "fp16")

    @abstractmethod
    def wrap(self, model: nn.Module) -> nn.Module:
        """The module to call, around the bare model."""

    @property
    @abstractmethod
    def model(self) -> nn.Module:
        """The bare model, whose parameter names are the canonical ones."""

    @contextlib.contextmanager
    def microbatch(self, is_last: bool) -> Iterator[None]:
        """Around the passes of a micro-batch: compute precision, and gradients that travel after the last one only."""
        with self.gradient_sync(is_last), self.device.autocast():
            yield

    def gradient_sync(self, is_last: bool) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def backward(self, loss: torch.Tensor) -> None:
        """Add gradients. `loss` is the mean over one micro-batch; together they make the mean over the global batch."""
        with torch.autocast(self.device.torch_device.type, enabled=False):
            self.scaler.scale(loss / self.batches.accumulation).backward()

    def step(self, learning_rate: float, max_norm: float) -> StepResult:
        """Clip the gradient to `max_norm` (0: do not), step the optimizer, clear the gradient."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.scaler.unscale_(self.optimizer)
        norm = self.clip_gradient(max_norm)
        finite = torch.isfinite(norm)
        if self.scaler.is_enabled():
            self.scaler.step(self.optimizer)  # leaves out a step whose gradient is not finite
            self.scaler.update()
        elif self.config.training.on_nonfinite == "stop" or finite:  # looking at the value waits for the device
            self.optimizer.step()
            finite = torch.ones_like(finite)
        self.optimizer.zero_grad(set_to_none=True)
        return StepResult(norm.detach(), finite.float())

    def clip_gradient(self, max_norm: float) -> torch.Tensor:
        """Scale the gradient down to `max_norm` (0: do not); gives its norm before, a scalar on the device."""
        parameters = [p for p in self.parameters.values() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if max_norm > 0:
            torch.nn.utils.clip_grads_with_norm_(parameters, max_norm, norm)
        return norm

    def weights(self) -> dict[str, torch.Tensor]:
        """The fp32 weights by canonical name, live, in the pieces that this rank holds."""
        return {name: parameter.detach() for name, parameter in self.parameters.items()}

    def moments(self, kind: str) -> dict[str, torch.Tensor]:
        """A moment of AdamW (`exp_avg` or `exp_avg_sq`), live, in pieces like those of `weights()`."""
        states = {name: self.optimizer.state.get(p, {}) for name, p in self.parameters.items()}
        return {name: state[kind] for name, state in states.items() if kind in state}

    def computed_weights(self) -> dict[str, torch.Tensor]:
        """The weights that the model computes with, in pieces like those of `weights()`; of 16 bits where those are."""
        return self.weights()

    def publish(self) -> None:  # noqa: B027 - most strategies compute with the weights themselves
        """After `weights()` were changed from outside: let what the model computes with follow them."""

    def gather(self, pieces: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Pieces as tensors of a checkpoint: whole, or sharded in a way that `torch.distributed.checkpoint` knows.

        All ranks call it together; a rank may get a subset of the names, and all ranks together get all.
        """
        return dict(pieces)

    def scatter(self, tensors: Mapping[str, torch.Tensor], pieces: Mapping[str, torch.Tensor]) -> None:
        """The way back: fill `pieces` from tensors that `gather(pieces)` would have given."""
        with torch.no_grad():
            for name, piece in pieces.items():
                piece.copy_(tensors[name])

    def state_dict(self) -> dict[str, torch.Tensor]:
        """What a checkpoint keeps: ``model.NAME``, ``optimizer.exp_avg.NAME``, ``optimizer.exp_avg_sq.NAME`` in fp32,
        ``optimizer.step``, and ``scaler.*`` where there is loss scaling. All ranks call it together."""
        self.create_moments()
        state = {f"model.{name}": tensor for name, tensor in self.gather(self.weights()).items()}
        for kind in MOMENTS:
            state |= {f"optimizer.{kind}.{name}": t for name, t in self.gather(self.moments(kind)).items()}
        return state | self.scalars()

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take over weights and moments; `state` has the names that `state_dict()` has on this rank."""
        self.create_moments()
        self.scatter(_below("model.", state), self.weights())
        for kind in MOMENTS:
            self.scatter(_below(f"optimizer.{kind}.", state), self.moments(kind))
        self.load_scalars(state)
        self.publish()

    def scalars(self) -> dict[str, torch.Tensor]:
        """``optimizer.step``, and the state of loss scaling."""
        counts = [state["step"] for state in self.optimizer.state.values()]
        scalars = {"optimizer.step": counts[0].detach().float().cpu()}
        if self.scaler.is_enabled():
            self.scaler.scale(torch.zeros((), device=self.device.torch_device))  # makes its state exist
            scalars["scaler.scale"] = self.scaler._scale  # type: ignore[assignment]
            scalars["scaler.growth_tracker"] = self.scaler._growth_tracker  # type: ignore[assignment]
        return scalars

    def load_scalars(self, state: Mapping[str, torch.Tensor]) -> None:
        for moments in self.optimizer.state.values():
            moments["step"].fill_(state["optimizer.step"].item())
        if self.scaler.is_enabled():
            live = self.scalars()
            for name in ("scaler.scale", "scaler.growth_tracker"):
                live[name].copy_(state[name])

    def create_moments(self) -> None:
        """AdamW makes its state in the first step; a resume needs it before."""
        for group in self.optimizer.param_groups:
            on_device = group.get("fused") or group.get("capturable")
            for parameter in group["params"]:
                if not self.optimizer.state[parameter]:
                    self.optimizer.state[parameter] = {
                        "step": torch.zeros((), device=parameter.device if on_device else "cpu"),
                        "exp_avg": torch.zeros_like(parameter),
                        "exp_avg_sq": torch.zeros_like(parameter),
                    }

    def gradients(self) -> Iterator[tuple[str, torch.Tensor | None]]:
        """After `backward` of the last micro-batch: each parameter's name and this rank's piece of its gradient.

        All ranks get the same names in the same order. The gradient may still carry the factor of loss scaling.
        """
        for name, parameter in self.parameters.items():
            yield name, parameter.grad

    def close(self) -> None:  # noqa: B027 - most strategies keep nothing
        """Let go of what outlives the model: communication groups, hooks."""


def _below(prefix: str, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}

"""Where ZeRO keeps a rank's share of each parameter: the one place that knows DeepSpeed's private attributes.

DeepSpeed lays the parameters of a group end to end in one flat tensor and steps a slice of it on each rank. Read here,
as they are in DeepSpeed 0.19 (`DEEPSPEED_VERSIONS`; setup.cfg pins the same range):

- Stages 1 and 2, `DeepSpeedZeroOptimizer` and, for bf16 at stage 1, `BF16_Optimizer`: `parameter._hp_mapping` with
  `lp_fragment_address`, `hp_fragment_address` (`start`, `numel`), `param_group_index`, `get_lp_grad_fragment`;
  `parameter._index_in_param_group`; `optimizer.param_groups[i]["params"] == [flat fp32 slice]`; `update_lp_params()`.
- Stage 3, `DeepSpeedZeroOptimizer_Stage3`: `grad_position`, `fp32_partitioned_groups_flat`, `fp16_groups`,
  `get_local_fp32_grad_for_param`, `_partition_all_parameters`, `_reassign_or_swap_out_partitioned_parameters`,
  `persistent_parameters`; `parameter.ds_id, ds_numel, ds_shape, ds_tensor, ds_status, all_gather`.
- All three: `optimizer` (ours), `overflow`, `clip_grad`; `loss_scaler` with `cur_scale`, `cur_iter`,
  `last_overflow_iter`, `scale_window`, `scale_factor`, `raise_error_at_min_scale` under fp16.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

DEEPSPEED_VERSIONS = ("0.19", "0.20")  # from, and below


@dataclass(frozen=True)
class Fragment:
    """This rank's share of one parameter, a range of its elements in row-major order.

    Attributes:
        flat: fp32 slice that the optimizer steps and has moments of; None where the rank holds nothing of it.
        offset: of the fragment in `flat`.
        start, length: of the fragment in the parameter.
    """

    flat: torch.Tensor | None = None
    offset: int = 0
    start: int = 0
    length: int = 0

    def of(self, flat: torch.Tensor) -> torch.Tensor:
        """The fragment's part of a tensor laid out like `flat`, live."""
        return flat.detach().narrow(0, self.offset, self.length)


class ShardedStates:
    """Stages 1 and 2: every rank has all low-precision weights, and steps a slice of the fp32 ones.

    Args:
        optimizer: DeepSpeed's, around ours.
        parameters: of the model by canonical name.
    """

    def __init__(self, optimizer: Any, parameters: Mapping[str, torch.Tensor]) -> None:
        self.optimizer = optimizer
        self.parameters = dict(parameters)
        self.fragments = {name: self._fragment(parameter) for name, parameter in self.parameters.items()}

    def _fragment(self, parameter: Any) -> Fragment:
        mapping = parameter._hp_mapping
        if mapping is None:
            return Fragment()
        kept, whole = mapping.hp_fragment_address, mapping.lp_fragment_address
        return Fragment(self.flats()[mapping.param_group_index], kept.start, whole.start, whole.numel)

    def flats(self) -> list[torch.Tensor]:
        """The slices that the optimizer steps."""
        return [group["params"][0] for group in self.optimizer.optimizer.param_groups]

    def computed(self, name: str) -> torch.Tensor:
        """The weights of the fragment that the model computes with."""
        fragment = self.fragments[name]
        return self.parameters[name].detach().reshape(-1).narrow(0, fragment.start, fragment.length)

    def gradient(self, name: str) -> torch.Tensor:
        """The fragment's gradient, after the last micro-batch and before the step."""
        parameter: Any = self.parameters[name]
        fragment = self.fragments[name]
        if fragment.flat is None:
            return torch.empty(0, device=parameter.device)
        found = parameter._hp_mapping.get_lp_grad_fragment(parameter._index_in_param_group).detach().reshape(-1)
        # With bf16 at stage 1 each rank keeps whole gradients.
        return found if found.numel() == fragment.length else found.narrow(0, fragment.start, fragment.length)

    def publish(self) -> None:
        """Give the fp32 slices to the weights that the model computes with, on all ranks."""
        self.optimizer.update_lp_params()


class ShardedWeights(ShardedStates):
    """Stage 3: weights are sliced as well, parameter by parameter, and gathered where they are needed."""

    def _fragment(self, parameter: Any) -> Fragment:
        group, offset, padded = self.optimizer.grad_position[parameter.ds_id]
        start = min(torch.distributed.get_rank() * padded, parameter.ds_numel)
        length = min(padded, parameter.ds_numel - start)  # the last slices are padded
        return Fragment(self.flats()[group], offset, start, length) if length else Fragment()

    def flats(self) -> list[torch.Tensor]:
        return list(self.optimizer.fp32_partitioned_groups_flat)

    def computed(self, name: str) -> torch.Tensor:
        parameter: Any = self.parameters[name]
        fragment = self.fragments[name]
        if parameter.ds_status.name == "AVAILABLE":  # small parameters stay gathered
            return super().computed(name)
        return parameter.ds_tensor.detach().narrow(0, 0, fragment.length)

    def gradient(self, name: str) -> torch.Tensor:
        local = self.optimizer.get_local_fp32_grad_for_param(self.parameters[name])
        return local.detach().narrow(0, 0, self.fragments[name].length)

    def publish(self) -> None:
        self.optimizer._partition_all_parameters()  # what a forward pass without a backward one left gathered
        for group in range(len(self.optimizer.fp16_groups)):
            self.optimizer._reassign_or_swap_out_partitioned_parameters(group)
        persistent = self.optimizer.persistent_parameters
        if persistent:
            persistent[0].all_gather(persistent)


def loss_scale(optimizer: Any) -> dict[str, torch.Tensor]:
    """DeepSpeed's dynamic loss scale, and the steps since it last changed, as `torch.amp.GradScaler` calls them."""
    scaler = optimizer.loss_scaler
    good = scaler.cur_iter - scaler.last_overflow_iter - 1
    steps = good % scaler.scale_window
    # DeepSpeed raises the scale a step later than GradScaler; a resume must not miss it.
    due = scaler.scale_factor if good > 0 and steps == 0 else 1.0
    return {
        "scaler.scale": torch.tensor(float(scaler.cur_scale) * due),
        "scaler.growth_tracker": torch.tensor(steps, dtype=torch.int32),
    }


def set_loss_scale(optimizer: Any, state: Mapping[str, torch.Tensor]) -> None:
    """The way back."""
    scaler = optimizer.loss_scaler
    scaler.cur_scale = float(state["scaler.scale"])
    scaler.last_overflow_iter = -1
    scaler.cur_iter = int(state["scaler.growth_tracker"])

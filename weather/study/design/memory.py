"""Peak memory of one rank, and bytes of a checkpoint, from a config alone.

Weights, gradients and moments are those of mixed-precision AdamW (Rajbhandari et al. 2020, arXiv 1910.02054, section
3.1), here with fp32 weights and gradients; a strategy keeps all of them or its slice. The sum is an upper estimate:
gradients grow while activations are freed. Not in it is what the device's driver and the allocator keep for
themselves (on a GPU some hundred megabytes, and what is lost between blocks), nor on CPU the interpreter.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch

from weather.config.schema import ModelSection
from weather.config.wrapper import ConfigWrapper
from weather.data.loader import LARGE_BUFFER, RING
from weather.model.attention import choose_attention
from weather.model.flops import ModelCost
from weather.model.transformer import mlp_hidden
from weather.runtime.device import Device
from weather.strategies.batches import BatchPlan
from weather.strategies.deepspeed_config import LARGEST_BUCKET, resolve
from weather.study.design.activations import FULL, activations

MOMENTS = 2
GATHERED_BLOCKS = 2  # of sharded weights: the one at work and the next, already on its way


@dataclass(frozen=True)
class States:
    """Bytes that a rank keeps from step to step, whatever the batch, on its device.

    Attributes:
        weights: that are stepped, with copies in the compute precision.
        gradients: at the end of a backward pass, with the buckets that they travel in.
        moments: of AdamW.
        average: of the weights, if there is one.
    """

    weights: int
    gradients: int
    moments: int
    average: int


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes at the peak of a step on one rank's device.

    Attributes:
        weights, gradients, moments, average: as in `States`.
        activations: kept for the backward pass.
        working: gradients of activations, and a block that is computed again.
        batches: fields that are read ahead or at work.
    """

    weights: int
    gradients: int
    moments: int
    average: int
    activations: int
    working: int
    batches: int

    @property
    def total(self) -> int:
        return sum(asdict(self).values())


def estimate_memory(
    config: ConfigWrapper, cost: ModelCost, batches: BatchPlan, *, ranks: int, device: Device
) -> MemoryEstimate:
    """The peak of a training step.

    Args:
        config: resolved (no `auto` in the model's shape).
        batches: how the global batch is split.
        ranks: of the whole job.
        device: kind and precision.
    """
    model = config.model
    number_bytes = FULL if device.autocast_dtype is None else 2
    kernel, _ = choose_attention(
        model.attention,
        device_type=device.torch_device.type,
        compute_dtype=device.autocast_dtype or torch.float32,
        head_dim=model.embed_dim // model.num_heads,
    )
    kept = activations(
        model,
        batches.micro_batch,
        number_bytes=number_bytes,
        kernel=kernel,
        device_type=device.torch_device.type,
    )
    states = estimate_states(config, cost, batches, ranks=ranks, device=device)
    fields = _batch_buffers(config, batches.micro_batch, device)
    return MemoryEstimate(**asdict(states), activations=kept.saved, working=kept.working, batches=fields)


def estimate_states(
    config: ConfigWrapper, cost: ModelCost, batches: BatchPlan, *, ranks: int, device: Device
) -> States:
    """What a strategy keeps of P parameters: 4 P for weights and for gradients, 8 P for moments, or slices of them."""
    training, halved = config.training, device.autocast_dtype is not None
    whole = FULL * cost.parameters
    average = whole if training.ema_decay > 0 else 0
    if training.strategy == "fsdp":
        return _fsdp_states(config, cost, batches, ranks, halved, device)
    if training.strategy == "deepspeed":
        zero = resolve(config, batches, device)["zero_optimization"]
        if zero["stage"] > 0:
            return _zero_states(cost, zero, ranks, halved, average, device)
    # Autocast keeps a 16-bit copy of each matrix from its first use to the end of a micro-batch.
    copies = 2 * _matrices(config.model) if halved else 0
    return States(whole + copies, whole, MOMENTS * whole, average)


def _fsdp_states(
    config: ConfigWrapper, cost: ModelCost, batches: BatchPlan, ranks: int, halved: bool, device: Device
) -> States:
    """Slices in fp32; gathered in the compute precision: embedding and head always, and two blocks or all of them."""
    training, size = config.training, 2 if halved else FULL
    sliced = math.ceil(FULL * cost.parameters / (training.shard_size or ranks))
    block = _block_parameters(config.model, cost)
    root = cost.parameters - config.model.num_layers * block
    at_once = GATHERED_BLOCKS if training.reshard_after_forward else config.model.num_layers
    gathered = size * (root + min(at_once, config.model.num_layers) * block)
    # A block's gradients are whole until they are reduced; over several micro-batches all of them are.
    whole_gradients = FULL * (cost.parameters if batches.accumulation > 1 else max(block, root))
    resident = 0 if training.cpu_offload and device.torch_device.type != "cpu" else sliced
    average = resident if training.ema_decay > 0 else 0
    return States(resident + gathered, resident + whole_gradients, MOMENTS * resident, average)


def _zero_states(
    cost: ModelCost, zero: dict[str, object], ranks: int, halved: bool, average: int, device: Device
) -> States:
    """Stage 1 slices moments and the fp32 weights beside those computed with, 2 gradients as well, 3 all weights.

    DeepSpeed clones its slice of the weights in fp32 also where they are fp32 themselves.
    """
    whole, size, stage = FULL * cost.parameters, 2 if halved else FULL, int(str(zero["stage"]))
    sliced = math.ceil(whole / ranks)
    on_host = _is_offloaded(zero, "offload_optimizer") and device.torch_device.type != "cpu"
    states = 0 if on_host else sliced
    bucket = min(LARGEST_BUCKET, cost.parameters)
    computed = size * cost.parameters
    if stage == 3:
        parameters_on_host = _is_offloaded(zero, "offload_param") and device.torch_device.type != "cpu"
        computed = (0 if parameters_on_host else math.ceil(computed / ranks)) + 2 * size * bucket
    gradients = whole if stage == 1 else states
    return States(
        computed + states,
        gradients + (size + FULL) * bucket,  # a bucket as it is computed, and as it travels
        MOMENTS * states,
        0 if not average else states,
    )


def _is_offloaded(zero: dict[str, object], key: str) -> bool:
    section = zero.get(key)
    return isinstance(section, dict) and section.get("device") == "cpu"


def _matrices(model: ModelSection) -> int:
    """Elements of the weights that matrix products use."""
    assert model.input_channels != "auto" and model.output_channels != "auto"
    blocks = model.num_layers * (4 * model.embed_dim**2 + 2 * model.embed_dim * mlp_hidden(model))
    return blocks + model.embed_dim * model.patch_size**2 * (model.embedded_channels + model.output_channels)


def _block_parameters(model: ModelSection, cost: ModelCost) -> int:
    assert model.output_channels != "auto"
    head = model.output_channels * model.patch_size**2 * (model.embed_dim + 1)
    return (cost.non_embedding_parameters - head - 2 * model.embed_dim) // model.num_layers


def _batch_buffers(config: ConfigWrapper, micro_batch: int, device: Device) -> int:
    """On CPU the rings of the training and the validation loader (`weather.data.loader`), and one normalised batch.

    A GPU has the batch at work, and beside it for a moment the one that it was made from.
    """
    model = config.model
    assert model.img_size != "auto" and model.input_channels != "auto"
    states = model.sequence_length + 1
    fields = FULL * micro_batch * states * model.input_channels * math.prod(model.img_size)
    if device.torch_device.type != "cpu":
        return 2 * fields
    ring = (2 if fields >= LARGE_BUFFER else RING) if config.data.num_workers else 1
    return (2 * ring + 1) * fields


def checkpoint_bytes(config: ConfigWrapper, cost: ModelCost) -> int:
    """Tensors of one checkpoint: weights, two moments, and the average where there is one, in fp32.

    In the file each has a header of some 1.6 kB beside.
    """
    return FULL * cost.parameters * (1 + MOMENTS + (config.training.ema_decay > 0))

"""Factors of how a run is computed: precision, memory, node, devices. What is learned stays the same, up to rounding,
except in weak scaling, whose batch grows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch

from weather.model.attention import flash_attn_obstacle
from weather.study.design.config_factors import batch
from weather.study.design.variation import (
    Base,
    CannotVary,
    Machine,
    Refusal,
    Variation,
    Variations,
    scaled_whole,
)

PRECISIONS = {0: "fp32", 1: "fp16", 2: "bf16"}
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
ATTENTION = ("flash_attn", "sdpa", "math")
RECOMPUTATION = ("none", "selective", "full")


def precision(base: Base, factors: Iterable[float]) -> Variations:
    """A factor is a code: 0 fp32, 1 fp16, 2 bf16."""
    for factor in factors:
        labels: dict[str, Any] = {"factor": "precision", "scale": factor}
        if factor not in PRECISIONS:
            codes = ", ".join(f"{code} {name}" for code, name in PRECISIONS.items())
            nearest = min(PRECISIONS, key=lambda code: abs(code - factor))
            cause = CannotVary(f"a precision has a code: {codes}", f"factor {nearest} ({PRECISIONS[nearest]})")
            yield Refusal(f"precision-x{factor:g}", labels, cause)
            continue
        name = PRECISIONS[int(factor)]
        labels["precision"] = name
        run = f"precision-{name}"
        try:
            flags = _precision_flags(base.machine.kind, name)
        except CannotVary as cause:
            yield Refusal(run, labels, cause)
            continue
        yield Variation(run, labels, {"training.precision": name}, flags=flags)


def memory(base: Base, factors: Iterable[float]) -> Variations:
    """Every attention kernel with every recomputation of activations in every precision; factors play no part."""
    del factors
    for kernel, recomputation, name in itertools.product(ATTENTION, RECOMPUTATION, PRECISIONS.values()):
        labels = {"factor": "memory", "attention": kernel, "recomputation": recomputation, "precision": name}
        run = f"memory-{kernel}-{recomputation}-{name}"
        try:
            flags = _precision_flags(base.machine.kind, name)
            _check_kernel(base, kernel, recomputation, name)
        except CannotVary as cause:
            yield Refusal(run, labels, cause)
            continue
        changes = {
            "model.attention": kernel,
            "model.activation_checkpointing": recomputation,
            "training.precision": name,
        }
        yield Variation(run, labels, changes, flags=flags)


def node(base: Base, factors: Iterable[float]) -> Variations:
    """Nodes, while the global batch stays (strong scaling)."""
    for factor in factors:
        labels = {"factor": "node", "scale": factor, "scaling": "strong"}
        name = f"node-x{factor:g}"
        try:
            (nodes,) = scaled_whole({"nodes": base.machine.num_nodes}, factor)
            if nodes > 1 and not base.machine.elsewhere:
                raise CannotVary(
                    f"{nodes} nodes, and this machine is one", "--executor slurm, or --scale_types devices"
                )
        except CannotVary as cause:
            yield Refusal(name, labels, cause)
            continue
        yield Variation(name, labels, machine=replace(base.machine, num_nodes=nodes))


def devices(base: Base, factors: Iterable[float]) -> Variations:
    """Ranks: with the same global batch (strong scaling), and with a batch that grows with them (weak scaling)."""
    for factor, scaling in itertools.product(factors, ("strong", "weak")):
        labels = {"factor": "devices", "scale": factor, "scaling": scaling}
        name = f"devices-{scaling}-x{factor:g}"
        try:
            machine = _scaled(base.machine, factor)
            changes = batch(base, factor) if scaling == "weak" else {}
        except CannotVary as cause:
            yield Refusal(name, labels, cause)
            continue
        yield Variation(name, labels, changes, machine)


def _scaled(machine: Machine, factor: float) -> Machine:
    (ranks,) = scaled_whole({"ranks": machine.ranks}, factor)
    return machine.with_ranks(ranks)


def _precision_flags(kind: str, name: str) -> tuple[str, ...]:
    if kind == "mps" and name != "fp32":
        raise CannotVary(f"mps does not train in {name}", "fp32 (factor 0)")
    if kind == "cpu" and name != "fp32":
        return ("16 bits on a CPU tell of accuracy, not of a GPU's speed or memory",)
    return ()


def _check_kernel(base: Base, kernel: str, recomputation: str, name: str) -> None:
    section, kind = base.config.model, base.machine.kind
    if kernel == "flash_attn":
        obstacle = flash_attn_obstacle(
            "cuda" if kind in ("cuda", "rocm") else kind, DTYPES[name], section.embed_dim // section.num_heads
        )
        if obstacle:
            raise CannotVary(obstacle, f"memory-sdpa-{recomputation}-{name}")
    if kernel == "math" and recomputation == "selective":
        raise CannotVary("math has no fused output to keep, so that selective is full", f"memory-math-full-{name}")


#: Types that choose precision, kernels or machines, each with its rule.
RULES = {"precision": precision, "memory": memory, "node": node, "devices": devices}

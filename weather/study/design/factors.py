"""One-factor experiments: a base run, and runs that each differ from it in one thing only."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

from weather.config.wrapper import ConfigWrapper
from weather.errors import ConfigError, WeatherError, did_you_mean
from weather.model.transformer import token_grid
from weather.study.design import config_factors, machine_factors
from weather.study.design.costing import cost_run, prepare_run
from weather.study.design.variation import BASE, Base, CannotVary, Machine, Refusal, Variation, Variations
from weather.study.folder import StudyFolder
from weather.study.planned import ImpossibleRun, PlannedRun, RunCost, StudyPlan

SCALE_TYPES = (*config_factors.RULES, *machine_factors.RULES)
REMARKS = {
    "model": "model: layers and heads are scaled, the head width stays, so that the width follows",
    "embedding": "embedding: the width alone is scaled, to the nearest that the heads divide",
    "resolution": "resolution: states are coarsened ({by}) while they are read; statistics stay those of the full grid",
    "batch": "batch: the learning rate grows with the square root of the batch (Malladi et al. 2022, for Adam)",
    "data": "data: an even share of each year; epochs stay, so that steps follow the samples",
    "temporal": "temporal: the last part of the training years; epochs stay, so that steps follow the samples",
    "precision": "precision: factors are codes, 0 fp32, 1 fp16, 2 bf16",
    "memory": "memory: every attention kernel x recomputation x precision; the factors play no part in it",
    "node": "node: nodes are scaled, the global batch stays",
    "devices": "devices: strong keeps the global batch, weak lets it grow with the ranks, and the learning rate with "
    "its square root; on one machine --at_once 1 keeps other runs out of the timing",
}


def plan_factors(
    folder: StudyFolder,
    config: ConfigWrapper,
    *,
    types: Sequence[str],
    factors: Sequence[float],
    machine: Machine,
) -> StudyPlan:
    """Derive, check and cost all runs of a one-factor experiment; nothing is written.

    The factor 1 is the base itself: it is trained once for all types.

    Args:
        config: the base.
        types: of `SCALE_TYPES`.
        factors: of each type.
        machine: that the base runs on.

    Raises:
        ConfigError: an unknown type, a factor that is no factor, or a base that cannot be trained.
        DataError: the archive cannot be used.
    """
    check_request(types, factors)
    types, factors = list(dict.fromkeys(types)), list(dict.fromkeys(factors))
    if machine.num_nodes < 1 or machine.devices_per_node < 1:
        raise ConfigError(
            f"--num_nodes {machine.num_nodes} --devices_per_node {machine.devices_per_node}", rule="at least 1 each"
        )
    if machine.num_nodes > 1 and not machine.elsewhere:
        raise ConfigError(
            f"--num_nodes {machine.num_nodes} on this machine", rule="it is one node", fix="--executor slurm"
        )
    base_config, base_cost = cost_run(config, ranks=machine.ranks, device=machine.kind)
    base = Base(config, prepare_run(config), machine)
    runs: dict[str, PlannedRun] = {}
    impossible: list[ImpossibleRun] = []
    for variation in _variations(base, types, factors):
        if isinstance(variation, Refusal):
            cause = variation.cause
            impossible.append(ImpossibleRun(variation.name, variation.labels, cause.reason, cause.nearest))
            continue
        where = variation.machine or machine
        try:
            derived, cost = (
                cost_run(config.replace(variation.changes), ranks=where.ranks, device=machine.kind)
                if variation.name != BASE
                else (base_config, base_cost)
            )
        except WeatherError as error:
            impossible.append(ImpossibleRun(variation.name, variation.labels, str(error), _nearest(variation, base)))
            continue
        runs[variation.name] = PlannedRun(
            name=variation.name,
            config=folder.placed(derived, variation.name),
            cost=cost,
            labels=variation.labels,
            num_nodes=where.num_nodes,
            devices=where.devices_per_node,
            flags=(*variation.flags, *_flags(derived, cost, machine)),
        )
    remarks = tuple(REMARKS[each].format(by=config.data.coarsen_by) for each in types if each in REMARKS)
    request = {
        "source": config.source,
        "types": types,
        "factors": factors,
        "machine": dataclasses.asdict(machine),
        "base": base_config.to_dict(),
    }
    return StudyPlan(folder.path.name, "factors", request, tuple(runs.values()), tuple(impossible), remarks)


def _flags(config: ConfigWrapper, cost: RunCost, machine: Machine) -> Iterator[str]:
    """What is possible, and may still not be meant."""
    there, needed = machine.memory_gigabytes, cost.memory_bytes
    if there is not None and needed is not None and needed > there * 1e9:
        yield f"out of memory: about {needed / 1e9:.3g} GB of {there:g} GB"
    if config.training.warmup_steps >= cost.steps:
        yield f"all of its {cost.steps} steps are warm-up (training.warmup_steps {config.training.warmup_steps})"
    section = config.model
    assert section.img_size != "auto"
    tokens = token_grid(section.img_size, section.patch_size)
    patched = (tokens[0] * section.patch_size, tokens[1] * section.patch_size)
    if patched != section.img_size:
        rows, columns = section.img_size
        yield (
            f"patches of {section.patch_size} do not divide its grid of {rows} x {columns}: the model resamples it to "
            f"{patched[0]} x {patched[1]}"
        )


def check_request(types: Sequence[str], factors: Sequence[float]) -> None:
    """Refuse what is no type and no factor.

    Raises:
        ConfigError: naming it.
    """
    for each in types:
        if each not in SCALE_TYPES:
            raise ConfigError(
                f"unknown scale type '{each}'",
                where="--scale_types",
                rule=f"one of {', '.join(SCALE_TYPES)}",
                fix=did_you_mean(each, SCALE_TYPES),
            )
    for factor in factors:
        # 0 is the code of a precision, and no factor of anything else.
        if not 0 <= factor < float("inf") or (factor == 0 and "precision" not in types):
            raise ConfigError(f"factor {factor:g}", where="--scale_factors", rule="factors are greater than 0")


def _variations(base: Base, types: list[str], factors: list[float]) -> Variations:
    positive = [factor for factor in factors if factor > 0]
    scales_something = any(each not in ("precision", "memory") for each in types)
    if 1 in factors and scales_something:
        yield Variation(BASE, {"factor": BASE, "scale": 1.0})
    for each in types:
        if len(positive) < len(factors) and each not in ("precision", "memory"):
            cause = CannotVary(
                "0 is the code of a precision, and scales nothing", f"factor {min(positive, default=1):g}"
            )
            yield Refusal(f"{each}-x0", {"factor": each, "scale": 0.0}, cause)
        if each in config_factors.RULES:
            yield from _scaled_configs(base, each, positive)
        else:
            rule = machine_factors.RULES[each]
            yield from rule(base, factors if each == "precision" else [f for f in positive if f != 1])


def _scaled_configs(base: Base, kind: str, factors: list[float]) -> Iterator[Variation | Refusal]:
    seen: dict[str, str] = {}
    for factor in factors:
        if factor == 1:
            continue
        name, labels = f"{kind}-x{factor:g}", {"factor": kind, "scale": factor}
        try:
            changes = config_factors.RULES[kind](base, factor)
            if all(base.config.get(key) == value for key, value in changes.items()):
                raise CannotVary("rounded to a valid value it is the base itself", "factor 1")
            twin = seen.setdefault(str(changes), name)
            if twin != name:
                raise CannotVary(f"rounded to a valid value it is {twin}", twin)
        except CannotVary as cause:
            yield Refusal(name, labels, cause)
        else:
            yield Variation(name, labels, changes)


def _nearest(variation: Variation, base: Base) -> str:
    """What could be done instead of a run that would be refused at its start, where a factor says it."""
    kind, scale = variation.labels["factor"], variation.labels.get("scale", 1.0)
    section, ranks = base.config.training, base.machine.ranks
    if kind in ("data", "temporal"):
        least = math.ceil(100 * section.batch_size / len(base.prepared.training)) / 100
        return f"factor {least:g} or more leaves a batch of samples"
    micro = 1 if section.micro_batch_size == "auto" else int(section.micro_batch_size)
    if kind == "batch":
        valid = [count * ranks * micro / section.batch_size for count in range(1, len(base.prepared.training) + 1)]
    elif kind in ("node", "devices") and variation.labels["scaling"] == "strong":
        step = base.machine.devices_per_node if kind == "node" else 1
        valid = [
            count / ranks for count in range(step, section.batch_size + 1, step) if section.batch_size % count == 0
        ]
    else:
        return ""
    lower = max((factor for factor in valid if factor < scale), default=None)
    upper = min((factor for factor in valid if factor > scale), default=None)
    near = [f"{factor:.6g}" for factor in (lower, upper) if factor is not None]
    return f"factor {' or '.join(near)}" if near else ""

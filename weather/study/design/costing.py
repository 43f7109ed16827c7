"""What a run will cost, found by the same steps that a start of it takes, on the archive that it will read."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import torch

from weather.config.wrapper import ConfigWrapper
from weather.data.archive import Archive
from weather.runtime.device import Device, available_kind
from weather.runtime.ranks import Ranks
from weather.strategies import find_strategy
from weather.study.design.memory import checkpoint_bytes, estimate_memory
from weather.study.one_forecast import require_one_forecast
from weather.study.planned import RunCost
from weather.training.budget import RunLength, due
from weather.training.preparation import Prepared, open_checked, prepare_on, with_absolute_paths

ARCHIVES = 16  # that stay open at once
#: Of the data section: what decides how an archive is opened, and not which of its samples are used.
OPENING_KEYS = ("data_dir", "channels", "coarsen", "coarsen_by")


def cost_run(config: ConfigWrapper, *, ranks: int = 1, device: str = "auto") -> tuple[ConfigWrapper, RunCost]:
    """Check a run as its start would, and say what it will cost.

    The first config of an archive opens it; others with the same archive and channels cost less than a millisecond.

    Args:
        config: may hold `auto`.
        ranks: that it is to run on.
        device: cuda | rocm | mps | cpu of these; auto: this machine's.

    Returns:
        The config without `auto` and with absolute paths, and the cost at the end of the run.

    Raises:
        WeatherError: the run could not start.
    """
    prepared = prepare_run(config)
    config, length, model = prepared.config, prepared.length, prepared.cost
    chosen, strategy = planned_device(device, config.training.precision), find_strategy(config.training.strategy)
    world = planned_ranks(ranks)
    strategy.validate(config, world, chosen)
    memory = estimate_memory(config, model, strategy.plan(config, world), ranks=ranks, device=chosen)
    return config, RunCost(
        parameters=model.parameters,
        non_embedding_parameters=model.non_embedding_parameters,
        tokens_per_sample=model.tokens,
        samples=length.total_steps * config.training.batch_size,
        unique_samples=len(prepared.training),
        steps=length.total_steps,
        flops=length.total_steps * length.flops_per_step,
        memory_bytes=memory.total,
        storage_bytes=checkpoint_bytes(config, model) * kept_checkpoints(config, length),
    )


def prepare_run(config: ConfigWrapper) -> Prepared:
    """What `weather.training.preparation.prepare` gives, without warnings; an archive is read once.

    Raises:
        WeatherError: the archive or the config cannot be used.
    """
    require_one_forecast(config)
    config = with_absolute_paths(config)
    section = config.data.model_dump_json(include={*OPENING_KEYS})
    return prepare_on(_open_once(section, _state_of(Path(config.data.data_dir))), config)


@functools.lru_cache(maxsize=ARCHIVES)
def _open_once(section: str, state: tuple[object, ...]) -> Archive:
    """The archive of a data section, as JSON, that has `OPENING_KEYS` only."""
    return open_checked(ConfigWrapper({"data": json.loads(section)}))


def _state_of(data_dir: Path) -> tuple[object, ...]:
    """Changes where a file of the archive does."""
    paths = [path for folder in ("train", "valid", "stats") for path in sorted((data_dir / folder).glob("*"))]
    found = [path.stat() for path in paths if path.exists()]
    return tuple((each.st_ino, each.st_size, each.st_mtime_ns) for each in found)


def planned_device(kind: str, precision: str) -> Device:
    """A device that need not be on this machine; `auto` precision is bf16 on GPUs, as all that are trained on have it.

    Args:
        kind: auto | cuda | rocm | mps | cpu.
        precision: auto | fp32 | bf16 | fp16.
    """
    kind = available_kind() if kind == "auto" else kind
    on_gpu = kind in ("cuda", "rocm")
    if precision == "auto":
        precision = "bf16" if on_gpu else "fp32"
    return Device(kind, torch.device("cuda" if on_gpu else kind), precision, "nccl" if on_gpu else "gloo")


def planned_ranks(count: int) -> Ranks:
    """The first of so many ranks, as a launcher will start them."""
    return Ranks(world_size=count, local_world_size=count, launcher="torchrun")


def kept_checkpoints(config: ConfigWrapper, length: RunLength) -> int:
    """Checkpoints that stay at the end: the newest, those of `save_at_steps`, and perhaps the best beside them.

    Those saved by the minute are not foreseen; they rotate.
    """
    training = config.training
    saved = [step for step in _candidates(config, length) if due(step, training, length)[1]]
    newest = saved[-training.max_checkpoints :] if training.max_checkpoints else saved
    older = set(saved) - set(newest)
    kept = older & set(training.save_at_steps)
    best = any(due(step, training, length)[0] for step in older - kept)
    return len(newest) + len(kept) + best


def _candidates(config: ConfigWrapper, length: RunLength) -> list[int]:
    """Steps at which the config may want a checkpoint, in order."""
    training, last = config.training, length.total_steps
    steps = {last, *(step for step in training.save_at_steps if step <= last)}
    if training.save_frequency:
        steps |= set(range(0, last + 1, training.save_frequency * length.steps_per_epoch))
    if training.save_every_steps:
        steps |= set(range(0, last + 1, training.save_every_steps))
    return sorted(steps - {0})

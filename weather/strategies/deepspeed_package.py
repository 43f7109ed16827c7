"""The package deepspeed: whether it is there, how it is imported, what it wants from the environment."""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import os
import warnings
from collections.abc import Iterator
from typing import Any

from weather.errors import ConfigError
from weather.runtime.device import Device
from weather.runtime.ranks import Ranks
from weather.strategies.zero_fragments import DEEPSPEED_VERSIONS


def require_deepspeed() -> None:
    """See that a DeepSpeed is installed whose inner workings this strategy knows, without importing it.

    Raises:
        ConfigError: there is none, or another.
    """
    lowest, above = DEEPSPEED_VERSIONS
    install = "pip install 'deepspeed>=0.19,<0.20'"
    try:
        version = importlib.metadata.version("deepspeed")
    except importlib.metadata.PackageNotFoundError:
        raise ConfigError(
            "strategy 'deepspeed' needs the package deepspeed, which is not installed",
            where="training.strategy",
            fix=f"{install}, or --strategy fsdp",
        ) from None
    if not _number(lowest) <= _number(version) < _number(above):
        raise ConfigError(
            f"deepspeed {version} is installed",
            where="training.strategy",
            rule=f"checkpoints read and write its inner state, which was tested with {lowest} up to, not with, {above}",
            fix=f"{install}, or --strategy fsdp",
        )


def _number(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def load_deepspeed(device: Device, ranks: Ranks) -> Any:
    """The package, set to this rank's device and quiet: only the first rank's warnings are shown."""
    if device.kind == "cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed

    # Compiled for minutes at the start, for an operation of inference on CPUs.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    logger = logging.getLogger("DeepSpeed")
    logger.setLevel(logging.WARNING if ranks.first else logging.CRITICAL)
    # What it warns of there is why the model has its own autocast.
    warnings.filterwarnings("ignore", message="`torch.distributed", category=FutureWarning)  # it calls older names
    logger.addFilter(lambda record: not record.getMessage().startswith("torch.autocast is enabled outside"))
    return deepspeed


@contextlib.contextmanager
def launcher_variables(device: Device, ranks: Ranks) -> Iterator[None]:
    """Inside, the environment's local rank is the index of this rank's device, as DeepSpeed takes it to be.

    A launcher that shows each task one device only makes them differ; some launchers set no LOCAL_RANK.
    """
    index = ranks.local_rank if device.torch_device.index is None else device.torch_device.index
    names = ["LOCAL_RANK", *(name for name in ["OMPI_COMM_WORLD_LOCAL_RANK"] if name in os.environ)]
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(index)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value

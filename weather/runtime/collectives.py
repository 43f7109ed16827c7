"""What ranks do together: join and leave, agree on an outcome, add up numbers, gather values, fail as one."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from typing import TypeVar

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from weather.errors import LaunchError, WeatherError, joins_ranks
from weather.runtime.ranks import Ranks
from weather.runtime.sharing import refuse_shared_devices

Result = TypeVar("Result")


def start_process_group(ranks: Ranks, backend: str, timeout_minutes: float, device: torch.device | None) -> None:
    """Join the process group; a process that no launcher started stays alone.

    Raises:
        LaunchError: the others cannot be reached within the timeout, or two ranks have the same device.
    """
    if ranks.launcher == "single" or dist.is_initialized():
        return
    joins_ranks()
    os.environ.update(MASTER_ADDR=ranks.master_address, MASTER_PORT=str(ranks.master_port))
    timeout = datetime.timedelta(minutes=timeout_minutes)
    try:
        store, _, _ = next(rendezvous("env://", ranks.rank, ranks.world_size, timeout=timeout))
        store.set_timeout(timeout)
        refuse_shared_devices(store, ranks, device)
        dist.init_process_group(
            backend,
            store=store,
            rank=ranks.rank,
            world_size=ranks.world_size,
            timeout=timeout,
            device_id=device if device is not None and device.type == "cuda" else None,
        )
    except (dist.DistError, RuntimeError, ValueError) as error:
        raise LaunchError(
            f"rank {ranks.rank} of {ranks.world_size} cannot join the others ({' '.join(str(error).split())[:300]})",
            where=f"{ranks.master_address}:{ranks.master_port}, backend {backend}",
            fix="check that all ranks were started and that this address is reachable from every node",
        ) from error


def stop_process_group() -> None:
    """Leave the process group in good order. After a failure it is left to die: the others may wait in it for ever."""
    if dist.is_initialized():
        dist.destroy_process_group()


def on_first_rank(function: Callable[[], Result]) -> Result:
    """Run `function` on rank 0 and give its result, or its `WeatherError`, to every rank.

    One rank touches the file system, and all ranks agree on what it found.
    """
    if not dist.is_initialized():
        return function()
    answer: list[Result | WeatherError | None] = [None]
    failure: BaseException | None = None
    if dist.get_rank() == 0:
        try:
            answer[0] = function()
        except WeatherError as error:
            error.agreed = True
            answer[0] = error
        except Exception as error:
            # The others must not wait for an answer that will never come.
            failure = error
            answer[0] = LaunchError(f"rank 0 failed: {type(error).__name__}: {error}")
    dist.broadcast_object_list(answer, src=0)
    if failure is not None:
        raise failure
    if isinstance(answer[0], WeatherError):
        answer[0].agreed = True
        raise answer[0]
    return answer[0]  # type: ignore[return-value]


def gather_from_ranks(value: Result) -> list[Result]:
    """The values of all ranks by rank, on every rank; they travel pickled."""
    if not dist.is_initialized():
        return [value]
    values: list[Result] = [value] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def sum_over_ranks(values: torch.Tensor, group: dist.ProcessGroup | None = None) -> torch.Tensor:
    """Sum a tensor over all ranks, or over those of a group, in place; does nothing in a single process."""
    if dist.is_initialized():
        if dist.get_backend() == "nccl" and values.device.type == "cpu":  # NCCL reaches device memory only
            on_device = values.cuda()
            dist.all_reduce(on_device, group=group)
            return values.copy_(on_device)
        dist.all_reduce(values, group=group)
    return values


def fail_together(error: WeatherError | None) -> None:
    """Raise on every rank the error of the first rank that has one; all ranks call it."""
    found = next((each for each in gather_from_ranks(error) if each is not None), None)
    if found is not None:
        found.agreed = True
        raise found


def rank_was_lost(error: BaseException) -> bool:
    """Whether a collective failed because another rank is gone; gloo says so with a plain RuntimeError."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))

"""How the global batch is split over ranks and micro-batches."""

from __future__ import annotations

from dataclasses import dataclass

from weather.errors import ConfigError


@dataclass(frozen=True)
class BatchPlan:
    """How the global batch is split: global = ranks x micro-batch x accumulation."""

    global_batch: int
    micro_batch: int
    accumulation: int


def plan_batches(batch_size: int, micro_batch_size: int | str, data_size: int) -> BatchPlan:
    """Derive accumulation from the global batch, the micro-batch and the number of data-parallel ranks.

    Raises:
        ConfigError: the three do not divide; names both numbers and the nearest valid batches.
    """
    micro = max(1, batch_size // data_size) if micro_batch_size == "auto" else int(micro_batch_size)
    slice_size = micro * data_size
    if batch_size % slice_size:
        unit = data_size if micro_batch_size == "auto" else slice_size
        lower = batch_size - batch_size % unit
        nearest = [str(size) for size in (lower, lower + unit) if size]
        raise ConfigError(
            f"training.batch_size = {batch_size} is not a multiple of {data_size} ranks x micro-batch {micro} "
            f"= {slice_size}",
            rule="batch_size counts the samples of one optimizer step over all ranks",
            fix=f"nearest valid batch_size: {' or '.join(nearest)}",
        )
    return BatchPlan(batch_size, micro, batch_size // slice_size)

"""The strategies that the tests compare, with the settings that choose them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """A strategy on a number of ranks."""

    ranks: int
    settings: tuple[str, ...]


def zero(stage: int) -> tuple[str, ...]:
    return ("strategy=deepspeed", f"deepspeed_config=ds_configs/zero{stage}.json")


TWO_RANKS = {
    "ddp2": Case(2, ("strategy=ddp",)),
    "fsdp2": Case(2, ("strategy=fsdp",)),
    "hsdp2": Case(2, ("strategy=fsdp", "shard_size=1")),
    **{f"zero{stage}": Case(2, zero(stage)) for stage in range(4)},
}
FOUR_RANKS = {
    "fsdp4": Case(4, ("strategy=fsdp",)),
    "hsdp4": Case(4, ("strategy=fsdp", "shard_size=2")),
    "zero2_4": Case(4, zero(2)),
}
SINGLE = Case(1, ("strategy=single",))

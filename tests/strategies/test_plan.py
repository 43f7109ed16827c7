"""How the global batch is split, and which strategies fit which world."""

from __future__ import annotations

import itertools
import re

import pytest
import torch

from weather.config.wrapper import ConfigWrapper
from weather.errors import ConfigError
from weather.runtime.device import Device, choose_device
from weather.runtime.ranks import Ranks
from weather.strategies import STRATEGIES, find_strategy
from weather.strategies.base import STRATEGY_OPTIONS
from weather.strategies.batches import BatchPlan, plan_batches

CPU = choose_device("cpu", "fp32", Ranks())
TWO = Ranks(0, 2, 0, 2, "torchrun")


@pytest.mark.parametrize(
    ("batch", "micro", "ranks", "plan"),
    [
        (16, "auto", 1, BatchPlan(16, 16, 1)),
        (16, "auto", 4, BatchPlan(16, 4, 1)),
        (16, 4, 1, BatchPlan(16, 4, 4)),
        (16, 2, 4, BatchPlan(16, 2, 2)),
        (16, 16, 1, BatchPlan(16, 16, 1)),
        (6, 1, 3, BatchPlan(6, 1, 2)),
        (1, "auto", 1, BatchPlan(1, 1, 1)),
    ],
)
def test_global_batch_is_ranks_times_micro_batch_times_accumulation(
    batch: int, micro: int | str, ranks: int, plan: BatchPlan
) -> None:
    assert plan_batches(batch, micro, ranks) == plan
    assert plan.global_batch == ranks * plan.micro_batch * plan.accumulation


@pytest.mark.parametrize(
    ("batch", "micro", "ranks", "message"),
    [
        (10, 4, 1, "batch_size = 10 is not a multiple of 1 ranks x micro-batch 4 = 4.*nearest .*batch_size: 8 or 12"),
        (10, 2, 3, "batch_size = 10 is not a multiple of 3 ranks x micro-batch 2 = 6.*6 or 12"),
        (2, "auto", 4, "batch_size = 2 is not a multiple of 4 ranks x micro-batch 1 = 4.*batch_size: 4"),
        (4, 8, 1, "batch_size = 4 is not a multiple of 1 ranks x micro-batch 8 = 8.*batch_size: 8"),
        (10, "auto", 4, "batch_size = 10 .*4 ranks.*8 or 12"),
    ],
)
def test_an_indivisible_batch_is_refused_with_both_numbers(
    batch: int, micro: int | str, ranks: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_batches(batch, micro, ranks)


def divides(batch: int, micro: int | str, ranks: int) -> bool:
    """The rule, written another way: with `auto` the ranks share the batch, else micro-batches fill it."""
    return batch >= ranks and batch % ranks == 0 if micro == "auto" else batch % (int(micro) * ranks) == 0


@pytest.mark.parametrize("micro", ["auto", 1, 2, 3, 8])
def test_every_refusal_names_the_nearest_valid_batches(micro: int | str) -> None:
    for batch, ranks in itertools.product(range(1, 40), range(1, 9)):
        if divides(batch, micro, ranks):
            plan = plan_batches(batch, micro, ranks)
            assert plan.micro_batch * plan.accumulation * ranks == batch
            continue
        with pytest.raises(ConfigError) as refusal:
            plan_batches(batch, micro, ranks)
        named = [int(number) for number in re.findall(r"\d+", str(refusal.value).split("nearest valid batch_size:")[1])]
        below = [size for size in range(1, batch) if divides(size, micro, ranks)][-1:]
        above = next(size for size in itertools.count(batch) if divides(size, micro, ranks))
        assert named == [*below, above], f"batch {batch}, {ranks} ranks, micro-batch {micro}"


def config(**training: object) -> ConfigWrapper:
    return ConfigWrapper({"training": training})


def test_an_unknown_strategy_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown strategy 'dpp'.*known: single, ddp.*did you mean 'ddp'\?"):
        find_strategy("dpp")
    for name, strategy in STRATEGIES.items():
        assert find_strategy(name) is strategy
        assert strategy.name == name


def test_single_serves_one_process() -> None:
    find_strategy("single").validate(config(), Ranks(), CPU)
    with pytest.raises(ConfigError, match=r"'single' with 2 ranks.*--strategy ddp"):
        find_strategy("single").validate(config(), TWO, CPU)


@pytest.mark.parametrize("name", ["ddp", "fsdp"])
def test_a_parallel_strategy_needs_a_launcher(name: str) -> None:
    find_strategy(name).validate(config(strategy=name), TWO, CPU)
    find_strategy(name).validate(config(strategy=name), Ranks(launcher="torchrun"), CPU)
    with pytest.raises(ConfigError, match=rf"'{name}' without a launcher.*torchrun .*--strategy {name} .*single"):
        find_strategy(name).validate(config(strategy=name), Ranks(), CPU)


@pytest.mark.parametrize("name", ["ddp", "fsdp"])
def test_mps_serves_no_parallel_strategy(name: str) -> None:
    mps = Device("mps", torch.device("cpu"), "fp32", "gloo")
    find_strategy("single").validate(config(), Ranks(), mps)
    with pytest.raises(ConfigError, match=f"'{name}' on mps.*--strategy single"):
        find_strategy(name).validate(config(strategy=name), Ranks(launcher="torchrun"), mps)


# --- options of one strategy ---

OPTIONS = {
    "shard_size": ("fsdp", 2),
    "reshard_after_forward": ("fsdp", False),
    "cpu_offload": ("fsdp", True),
    "deepspeed_config": ("deepspeed", "ds_configs/zero2.json"),
}


def test_every_option_that_one_strategy_serves_is_known_here() -> None:
    assert {key: owner for key, (owner, _) in OPTIONS.items()} == STRATEGY_OPTIONS


@pytest.mark.parametrize("key", OPTIONS)
@pytest.mark.parametrize("name", ["single", "ddp", "fsdp"])
def test_an_option_of_another_strategy_is_refused(name: str, key: str) -> None:
    owner, value = OPTIONS[key]
    ranks = Ranks() if name == "single" else TWO
    settings = config(strategy=name, **{key: value})
    if name == owner:
        find_strategy(name).validate(settings, ranks, CPU)
        return
    with pytest.raises(ConfigError, match=rf"training\.{key} with strategy '{name}'.*--strategy {owner}"):
        find_strategy(name).validate(settings, ranks, CPU)


@pytest.mark.parametrize(
    ("size", "world", "nearest"), [(3, 4, 2), (3, 8, 2), (5, 8, 4), (7, 8, 8), (16, 8, 8), (4, 6, 3), (4, 7, 1)]
)
def test_a_shard_size_that_does_not_divide_the_world_is_refused_with_the_nearest(
    size: int, world: int, nearest: int
) -> None:
    ranks = Ranks(0, world, 0, world, "torchrun")
    sized = config(strategy="fsdp", batch_size=world, shard_size=size)
    with pytest.raises(ConfigError, match=rf"shard_size = {size} with {world} ranks.*nearest valid: {nearest}\.$"):
        find_strategy("fsdp").validate(sized, ranks, CPU)


@pytest.mark.parametrize(("size", "world"), [(1, 4), (2, 4), (4, 4), (1, 1), (8, 24)])
def test_a_shard_size_that_divides_the_world_is_taken(size: int, world: int) -> None:
    ranks = Ranks(0, world, 0, world, "torchrun")
    find_strategy("fsdp").validate(config(strategy="fsdp", batch_size=world, shard_size=size), ranks, CPU)


def test_offloading_does_not_go_with_loss_scaling() -> None:
    offloaded = config(strategy="fsdp", cpu_offload=True)
    find_strategy("fsdp").validate(offloaded, TWO, Device("cuda", torch.device("cpu"), "bf16", "nccl"))
    with pytest.raises(ConfigError, match="cpu_offload with precision fp16"):
        find_strategy("fsdp").validate(offloaded, TWO, Device("cuda", torch.device("cpu"), "fp16", "nccl"))


@pytest.mark.parametrize("name", ["single", "ddp", "fsdp"])
def test_a_batch_that_does_not_divide_is_refused_before_anything_is_allocated(name: str) -> None:
    ranks = Ranks() if name == "single" else TWO
    with pytest.raises(ConfigError, match="batch_size = 5 is not a multiple"):
        find_strategy(name).validate(config(batch_size=5, micro_batch_size=2), ranks, CPU)


def test_ranks_of_ddp_read_different_samples() -> None:
    assert STRATEGIES["ddp"].data_ranks(Ranks(3, 4, 1, 2, "torchrun")) == (3, 4)
    assert STRATEGIES["ddp"].plan(config(batch_size=8), Ranks(3, 4, 1, 2, "torchrun")) == BatchPlan(8, 2, 1)

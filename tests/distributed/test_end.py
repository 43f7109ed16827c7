"""A process that has done its work ends: nothing that outlives the process group waits for it."""

from __future__ import annotations

from tests.distributed.pair import run_pair

RANK = """
import weakref
from tests.model.tiny import tiny_model
from weather.config.wrapper import ConfigWrapper
from weather.runtime.collectives import start_process_group, stop_process_group
from weather.runtime.device import choose_device
from weather.runtime.ranks import find_ranks
from weather.strategies import find_strategy
from weather.training.optimizer import build_optimizer

ranks = find_ranks()
start_process_group(ranks, "gloo", 1.0, None)
config = ConfigWrapper({"training": {"strategy": "ddp", "batch_size": 4}})
strategy = find_strategy("ddp")(config, choose_device("cpu", "fp32", ranks), ranks)
strategy.setup(tiny_model, lambda model: build_optimizer(model, config.training))
buckets = weakref.ref(strategy.module.reducer)
strategy.close()
print(buckets() is None)
stop_process_group()
"""


def test_gradient_buckets_end_before_the_process_group() -> None:
    """They hold the group, and its end must not be theirs (see `DistributedDataParallel.close`)."""
    assert run_pair(RANK) == [["True"], ["True"]]

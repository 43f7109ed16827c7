"""A process that has done its work ends: nothing that outlives the process group waits for it."""

from __future__ import annotations

import subprocess
import sys

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


DOOR = """
import atexit
import sys
from weather.errors import command_line
from weather.runtime.collectives import start_process_group, stop_process_group
from weather.runtime.ranks import find_ranks

class Witness:
    def __del__(self):
        print("finalized")

witness = Witness()

@command_line
def main():
    start_process_group(find_ranks(), "gloo", 1.0, None)
    stop_process_group()
    atexit.register(print, "exit handlers ran")
    return 0

main()
"""


def test_no_thread_of_the_group_is_ended_by_python() -> None:
    """A thread that waits for the interpreter lock in finalization aborts the process, now and then."""
    assert run_pair(DOOR) == [["exit handlers ran"]] * 2


def test_a_lone_process_ends_as_any_other() -> None:
    alone = DOOR.replace("start_process_group(find_ranks()", "start_process_group(Ranks()").replace(
        "import find_ranks", "import Ranks"
    )
    ended = subprocess.run([sys.executable, "-c", alone], capture_output=True, text=True, timeout=120, check=False)
    assert ended.stdout.splitlines() == ["exit handlers ran", "finalized"]

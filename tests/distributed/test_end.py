"""A process that has done its work ends: nothing that outlives the process group waits for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.distributed.pair import ROOT, run_pair

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


STARTED = """
import atexit
import multiprocessing
import os
from weather.errors import command_line
from weather.runtime.collectives import start_process_group, stop_process_group
from weather.runtime.launch import start_ranks
from weather.runtime.ranks import find_ranks

if multiprocessing.current_process().name != "MainProcess":
    atexit.register(os.write, 1, b"went on to Python's end\\n")

@command_line
def main():
    start_process_group(find_ranks(), "gloo", 1.0, None)
    stop_process_group()
    atexit.register(os.write, 1, b"exit handlers ran\\n")
    return 75
"""


def test_ranks_that_we_start_end_so_too(tmp_path: Path) -> None:
    """They give their status to the agent first. (`os.write`: lines of two processes must not mix.)"""
    (tmp_path / "started.py").write_text(STARTED)
    command = "import sys, started; sys.exit(started.start_ranks(2, started.main, collects_signals=False))"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}", "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", command], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 75, ended.stderr
    assert ended.stdout.splitlines() == ["exit handlers ran"] * 2

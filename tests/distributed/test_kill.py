"""SIGKILL at random moments: a run that is started again ends with the bits of one that was never touched."""

from __future__ import annotations

import random
import signal
import subprocess
import time

import pytest

from tests.distributed.runs import Workplace, assert_same_bits, descendants, kill_tree, signal_all
from tests.distributed.strategies import SINGLE, TWO_RANKS

# A save after every second step, written in the background: there is hardly a moment without one.
SETTINGS = ("batch_size=8", "epochs=40", "save_every_steps=2", "dropout=0.1", "ema_decay=0.9", "eval_frequency=9")
STEPS = 120
CASES = {"single": SINGLE, "ddp2": TWO_RANKS["ddp2"], "fsdp2": TWO_RANKS["fsdp2"], "zero2": TWO_RANKS["zero2"]}
KILLS = {"single": 3, "ddp2": 2, "fsdp2": 2, "zero2": 2}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", CASES)
def test_killed_at_random_moments(workplace: Workplace, name: str) -> None:
    case = CASES[name]
    settings = (*SETTINGS, *case.settings)
    workplace.run(f"{name}_whole", *settings, ranks=case.ranks)
    moments = random.Random(name)
    for kill in range(1, KILLS[name] + 1):
        process = workplace.start(f"{name}_killed", *settings, ranks=case.ranks)
        workplace.wait_for_step(process, f"{name}_killed", STEPS * kill // (KILLS[name] + 2))
        if kill % 2:  # in the middle of a save
            halt_in_a_save(workplace, process, f"{name}_killed")
        else:
            time.sleep(moments.uniform(0, 0.2))
        assert process.poll() is None, "the run ended before it was killed"
        kill_tree(process)
        assert workplace.partial(f"{name}_killed") or kill % 2 == 0, "the kill did not fall into a save"
    workplace.run(f"{name}_killed", *settings, ranks=case.ranks)
    assert workplace.losses(f"{name}_killed") == workplace.losses(f"{name}_whole")
    assert_same_bits(workplace.tensors(f"{name}_killed"), workplace.tensors(f"{name}_whole"))
    assert len(workplace.records(f"{name}_killed", "resume")) == KILLS[name]


def halt_in_a_save(workplace: Workplace, process: subprocess.Popen[str], name: str) -> None:
    """Stop all processes of a run while a checkpoint is half written, so that the save cannot end before the kill."""
    pids = [process.pid, *descendants(process.pid)]
    while process.poll() is None:
        if workplace.partial(name):
            signal_all(pids, signal.SIGSTOP)
            if workplace.partial(name):
                return
            signal_all(pids, signal.SIGCONT)  # this save was over before they stood still: wait for the next
        time.sleep(0.001)

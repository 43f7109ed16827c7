"""Signals: the first is a wish, a second Ctrl-C is an order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from weather.runtime.stop import HANDLED, StopSignals

IMPATIENT = """
import os, signal
from weather.runtime.stop import StopSignals
with StopSignals() as signals:
    os.kill(os.getpid(), signal.SIGINT)
    print(signals.received, flush=True)
    os.kill(os.getpid(), signal.SIGINT)
    print("still here", flush=True)
"""


HUNG_UP = """
import os, signal
from weather.runtime.stop import StopSignals
with StopSignals() as signals:
    os.kill(os.getpid(), signal.SIGHUP)
    print(signals.received, flush=True)
"""


def test_what_schedulers_and_terminals_send_is_handled() -> None:
    assert set(HANDLED) == {signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2}


@pytest.mark.parametrize(("before", "received"), [("", "SIGHUP"), ("nohup", "None")])
def test_a_closed_terminal_stops_a_run_unless_nohup_says_otherwise(before: str, received: str) -> None:
    command = [*before.split(), sys.executable, "-c", HUNG_UP]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (process.returncode, process.stdout) == (0, received + "\n")


@pytest.mark.parametrize("number", HANDLED)
def test_a_signal_is_remembered_and_ends_nothing(number: signal.Signals) -> None:
    before = {handled: signal.getsignal(handled) for handled in HANDLED}
    with StopSignals() as signals:
        assert signals.received is None
        os.kill(os.getpid(), number)
        assert signals.received == number.name
    assert {handled: signal.getsignal(handled) for handled in HANDLED} == before


def test_handlers_are_restored_after_an_error() -> None:
    before = {handled: signal.getsignal(handled) for handled in HANDLED}
    with pytest.raises(ZeroDivisionError), StopSignals():
        _ = 1 // 0
    assert {handled: signal.getsignal(handled) for handled in HANDLED} == before


def test_the_first_signal_is_the_one_remembered() -> None:
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.received == "SIGUSR1"


def test_a_scheduler_may_repeat_itself() -> None:
    with StopSignals() as signals:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
        assert signals.received == "SIGTERM"


def test_a_second_interrupt_ends_the_process() -> None:
    process = subprocess.run([sys.executable, "-c", IMPATIENT], capture_output=True, text=True, timeout=60)
    assert process.returncode == -signal.SIGINT
    assert process.stdout == "SIGINT\n"

"""Fixtures that all tests may use."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.archives import WrittenArchive, write_archive
from weather import errors


def pytest_configure() -> None:
    """What `nohup` or the background of a script ignores, all runs that tests start would ignore, and never stop."""
    # A handler, not the default: a new process gets the default for it, while a hangup does not end the tests.
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, lambda *_: None)):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(autouse=True)
def no_test_ends_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rank ends its process at once and with status 0: in this process the remaining tests would be lost unseen."""

    def refuse(status: int) -> None:
        raise AssertionError(f"this process was taken for a rank, and would have ended with {status}")

    monkeypatch.setattr(errors, "end_of_rank", refuse)


@pytest.fixture
def make_archive(tmp_path: Path) -> Callable[..., WrittenArchive]:
    """`write_archive` into a fresh folder; takes its keyword arguments and, for a second archive, `name`."""

    def make(name: str = "archive", **settings: Any) -> WrittenArchive:
        return write_archive(tmp_path / name, **settings)

    return make

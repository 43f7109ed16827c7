"""Fixtures that all tests may use."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.archives import WrittenArchive, write_archive
from weather import errors

#: Folders whose tests mostly run in one process and measure no time: `launch/test.sh` runs two of them at once.
SIDE_BY_SIDE = (
    "config",
    "data",
    "diagnosis",
    "forecasting",
    "model",
    "presentation",
    "runtime",
    "strategies",
    "study",
    "training",
    "verification",
)
TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what may run beside another test; `study/execution` counts cores, and slow ones start several ranks."""
    for item in items:
        folders = item.path.relative_to(TESTS).parts
        alone = "execution" in folders or item.get_closest_marker("slow") is not None
        if folders[0] in SIDE_BY_SIDE and not alone:
            item.add_marker("side_by_side")


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

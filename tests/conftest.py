"""Fixtures that all tests may use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.archives import WrittenArchive, write_archive
from weather import errors


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

"""Fixtures that all tests may use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.archives import WrittenArchive, write_archive


@pytest.fixture
def make_archive(tmp_path: Path) -> Callable[..., WrittenArchive]:
    """`write_archive` into a fresh folder; takes its keyword arguments and, for a second archive, `name`."""

    def make(name: str = "archive", **settings: Any) -> WrittenArchive:
        return write_archive(tmp_path / name, **settings)

    return make

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.distributed.runs import Workplace


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """One archive and one set of reference runs for all tests of a file; nothing is left running."""
    place = Workplace(tmp_path_factory.mktemp("runs"))
    yield place
    place.close()

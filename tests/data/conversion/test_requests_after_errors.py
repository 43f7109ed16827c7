"""What was asked for beside a request that failed for good is given up, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.data.conversion.server import serving
from tests.data.conversion.sources import SPLIT, field, run, times, xarray
from weather.data.conversion import patience
from weather.errors import DataError

pytest.importorskip("zarr", minversion="3.0", reason="zarr 3 is not installed")
pytest.importorskip("aiohttp", reason="aiohttp is not installed")


def test_no_request_outlives_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end of the process asyncio would print some lines for each."""
    from weather.data.conversion import remote_store

    begun, ended = [], []

    async def counted(request: Any, where: str) -> Any:
        begun.append(where)
        try:
            return await patience.patiently(request, where)
        finally:
            ended.append(where)

    monkeypatch.setattr(patience, "PAUSES", (20.0,))
    monkeypatch.setattr(remote_store, "patiently", counted)
    chunks = {"t2m": {"chunks": (1, 7, 12)}}
    xarray.Dataset({"t2m": field(times(20))}).to_zarr(tmp_path / "s/a.zarr", zarr_format=2, encoding=chunks)

    def mood(path: str, before: int) -> int:
        return 400 if path.endswith("t2m/3.0.0") else 503 if path.endswith(".0.0") else 200

    with (
        serving(tmp_path / "s", mood) as server,
        pytest.raises(DataError, match="'t2m': states 0 to 11 cannot be read .*400"),
    ):
        run(f"{server.url}/a.zarr", tmp_path / "out", *SPLIT)
    assert begun and sorted(begun) == sorted(ended)

"""A Zarr store at a URL that is asked again while a failure may pass, and in which nothing is lost unsaid."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from zarr.abc.store import RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import FsspecStore

from weather.data.conversion.patience import is_refusal, patiently
from weather.data.conversion.remote import filesystem
from weather.data.conversion.urls import refused
from weather.errors import DataError

METADATA = (".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json")


class RemoteStore(FsspecStore):  # type: ignore[misc]
    """Reads; a chunk that is not there is the fill value, as in a folder, if there is one.

    Args:
        url: of the store.
        credentials: use those of the environment.

    Raises:
        ConfigError: a package is missing.
    """

    def __init__(self, url: str, *, credentials: bool) -> None:
        there = filesystem(url, credentials=credentials, asynchronous=True)
        super().__init__(fs=there, path=there._strip_protocol(url), read_only=True)
        self.url = url
        self._filled: dict[str, bool] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asking: set[asyncio.Task[Any]] = set()

    def shut(self) -> None:
        """End its requests and connections; Zarr leaves those to the end of the process, which complains."""
        if self._loop is not None and self._loop.is_running():
            asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result()

    async def _shut(self) -> None:
        for task in self._asking:  # after an error, those that were made beside the one that failed
            task.cancel()
        while self._asking:
            await asyncio.sleep(0.01)
        creator, session = (getattr(self.fs, name, None) for name in ("_s3creator", "_session"))
        if creator is not None:
            await creator.__aexit__(None, None, None)
        if session is not None:
            await session.close()

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        """Bytes of a key, None where it is not there.

        Raises:
            DataError: the server does not answer, or refuses; it gives more than was asked for; or a chunk is not
                there and has no fill value.
        """
        value = await self._patiently(lambda: super(RemoteStore, self).get(key, prototype, byte_range), key)
        if value is None and key.rsplit("/", 1)[-1] not in METADATA and not await self._has_fill_value(key):
            raise DataError("this chunk is not in the store", where=f"{self.url}/{key}",
                            rule="no writer leaves out chunks where there is no fill value",
                            fix="tell those who keep the store, or leave the variable or the year out")  # fmt: skip
        if value is not None and len(value) > _most_bytes(byte_range):
            raise DataError("the server gives all of a file where a part was asked for", where=f"{self.url}/{key}",
                            rule="of a shard the chunks are read that are wanted, by HTTP's Range",
                            fix="fetch the store first, or ask for a server that heeds Range")  # fmt: skip
        return value

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Names in a folder."""

        async def names() -> list[str]:
            return [name async for name in super(RemoteStore, self).list_dir(prefix)]

        for name in await self._patiently(names, prefix):
            yield name

    async def get_partial_values(self, prototype: Any, key_ranges: Any) -> Any:
        ranges = list(key_ranges)
        return await self._patiently(lambda: super(RemoteStore, self).get_partial_values(prototype, ranges), "")

    async def _patiently(self, request: Any, key: str) -> Any:
        self._loop = asyncio.get_running_loop()
        where = f"{self.url}/{key}"
        task = asyncio.current_task()
        assert task is not None
        self._asking.add(task)
        try:
            return await patiently(request, where)
        except Exception as error:
            if is_refusal(error):
                raise refused(where, error) from error
            raise
        finally:
            self._asking.discard(task)

    async def _has_fill_value(self, key: str) -> bool:
        """Whether the array of a chunk has a fill value; only Zarr 2 can do without."""
        variable = key.split("/", 1)[0]
        if variable not in self._filled:
            document = await self.get(f"{variable}/.zarray", default_buffer_prototype())
            self._filled[variable] = document is None or json.loads(document.to_bytes()).get("fill_value") is not None
        return self._filled[variable]


def _most_bytes(byte_range: Any) -> float:
    """Length of the answer to a request for a part; infinite where it is not known."""
    if isinstance(byte_range, RangeByteRequest):
        return byte_range.end - byte_range.start
    return byte_range.suffix if isinstance(byte_range, SuffixByteRequest) else float("inf")

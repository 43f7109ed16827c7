"""Zarr stores at a URL: how they are reached, whether they are there, and what tells that they are the same."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from typing import Any

from weather.data.conversion import patience
from weather.data.conversion.patience import is_refusal, patiently
from weather.data.conversion.urls import import_filesystem, refused, scheme_of
from weather.errors import DataError

ROOT_MARKS = (".zmetadata", "zarr.json", ".zgroup")
ARRAY_MARKS = (".zarray", ".zattrs", "zarr.json")
CONNECTIONS = 64  # at once, of a process to a server


def filesystem(url: str, *, credentials: bool, asynchronous: bool) -> Any:
    """The fsspec filesystem that a URL is in.

    Args:
        credentials: use those of the environment; otherwise ask without any. Over http those of ~/.netrc are used.
        asynchronous: for use in an event loop of one's own, as Zarr has.

    Raises:
        ConfigError: a package is missing.
    """
    import_filesystem(url)
    import fsspec

    scheme = scheme_of(url)
    if scheme == "s3":
        # Without tries of its own; the endpoint is that of AWS_ENDPOINT_URL or of the profile.
        own: dict[str, Any] = {
            "anon": not credentials,
            "config_kwargs": {"retries": {"total_max_attempts": 1}, "max_pool_connections": CONNECTIONS,
                              "connect_timeout": patience.QUIET_SECONDS, "read_timeout": patience.QUIET_SECONDS},
        }  # fmt: skip
    else:
        import aiohttp

        quiet = aiohttp.ClientTimeout(total=None, sock_connect=patience.QUIET_SECONDS, sock_read=patience.QUIET_SECONDS)
        if scheme == "gs":
            logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it prints tracebacks of what is raised anyway
            own = {"token": None if credentials else "anon", "requests_timeout": quiet,
                   "session_kwargs": {"trust_env": True}}  # fmt: skip
        else:
            # trust_env: proxies, and ~/.netrc.
            own = {"client_kwargs": {"trust_env": True, "timeout": quiet}}
    own |= {"asynchronous": asynchronous, "skip_instance_cache": True, "use_listings_cache": False}
    if scheme == "gs":
        from gcsfs.core import GCSFileSystem

        # Not fsspec's own choice, which asks by gRPC, for up to a minute, of what kind each bucket is.
        return GCSFileSystem(**own)
    made = fsspec.filesystem(scheme, **own)
    if scheme == "s3":
        made.retries = 1
    return made


def identify_url(url: str) -> tuple[str, bool]:
    """A digest of the metadata of a Zarr store's arrays, and whether credentials are needed.

    The digest has neither group attributes, where some stores keep the date of their last update, nor the time of
    the metadata, which differs from server to server: it tells of other variables, shapes, chunks, units or packing.

    Raises:
        ConfigError: a package is missing.
        DataError: nothing is there, it may not be read, or the server does not answer.
    """
    import_filesystem(url)
    import fsspec.asyn

    for credentials in (False, True):
        there = filesystem(url, credentials=credentials, asynchronous=False)
        try:
            documents = fsspec.asyn.sync(there.loop, _documents, there, there._strip_protocol(url), url)
        except DataError:
            raise
        except Exception as error:
            if not is_refusal(error):
                raise DataError(f"no Zarr store can be read there ({error})", where=url) from error
            if credentials or scheme_of(url) not in ("gs", "s3"):
                raise refused(url, error) from error
            continue
        if not documents:
            raise DataError("no Zarr store is there", where=url,
                            rule=f"one of {', '.join(ROOT_MARKS)} lies at its root",
                            fix="check the URL: it names the store itself, as in gs://bucket/era5.zarr")  # fmt: skip
        return hashlib.sha256(json.dumps(documents, sort_keys=True).encode()).hexdigest(), credentials
    raise AssertionError("with credentials the loop returns or raises")


async def _documents(there: Any, root: str, url: str) -> dict[str, Any]:
    """Metadata of the arrays below a root, by key; empty where there is no store."""
    marks = await _read(there, root, ROOT_MARKS, url)
    if not marks:
        return {}
    consolidated = marks.get(".zmetadata") or (marks.get("zarr.json") or {}).get("consolidated_metadata")
    if consolidated:
        return {key: document for key, document in consolidated["metadata"].items() if key != ".zattrs"}
    try:
        listed = await patiently(lambda: there._ls(root, detail=False), url)
    except FileNotFoundError:
        listed = []
    if not listed:
        raise DataError("the metadata of this store are not consolidated, and the server does not list its folders",
                        where=url, rule="what a store holds is said in one place, or by its folders",
                        fix="ask for zarr.consolidate_metadata where the store lies, or fetch the store")  # fmt: skip
    names = sorted({str(path).rstrip("/").rsplit("/", 1)[-1] for path in listed} - {*ROOT_MARKS, ".zattrs"})
    keys = [f"{name}/{mark}" for name in names for mark in ARRAY_MARKS]
    return {**{key: _without_attributes(document) for key, document in marks.items()},
            **await _read(there, root, keys, url)}  # fmt: skip


def _without_attributes(group: dict[str, Any]) -> dict[str, Any]:
    """The document of a group, in which Zarr 3 keeps its attributes, too."""
    return {key: value for key, value in group.items() if key != "attributes"}


async def _read(there: Any, root: str, keys: Any, url: str) -> dict[str, Any]:
    """Those of some JSON documents that are there.

    Raises:
        Exception: of the filesystem where none is there, and the server refused one.
    """
    gate = asyncio.Semaphore(CONNECTIONS)

    async def one(key: str) -> Any:
        async with gate:
            return await patiently(lambda: there._cat_file(f"{root}/{key}"), f"{url}/{key}", patience.FIRST_PAUSES)

    answers = await asyncio.gather(*map(one, keys), return_exceptions=True)
    found: dict[str, Any] = {}
    refusals = []
    for key, answer in zip(keys, answers, strict=True):
        if isinstance(answer, bytes):
            found[key] = json.loads(answer)
        elif isinstance(answer, Exception) and is_refusal(answer):
            refusals.append(answer)
        elif not isinstance(answer, (FileNotFoundError, IsADirectoryError, NotADirectoryError)):
            raise answer
    if refusals and not found:
        raise refusals[0]
    return found

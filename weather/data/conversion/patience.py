"""Requests to a server, tried again while what went wrong may pass."""

from __future__ import annotations

import asyncio
import errno
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from weather.data.conversion.urls import described
from weather.errors import DataError

Answer = TypeVar("Answer")

PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # seconds before each further try
FIRST_PAUSES = (1.0, 2.0)  # of a store that has not answered yet: its name may be wrong
LONG_PAUSE = 4.0  # seconds; shorter ones are not spoken of
QUIET_SECONDS = 60.0  # without a byte, after which a connection counts as broken

PASSING_STATUS = (408, 425, 429)  # and all from 500
LASTING_NUMBERS = (errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EACCES, errno.ENOENT)
# By name, for each library is there only where its kind of URL is read.
PASSING_NAMES = {"ClientConnectionError", "ClientPayloadError", "HTTPClientError", "ResponseParserError",
                 "IncompleteReadError"}  # fmt: skip
LASTING_NAMES = {"ClientSSLError", "SSLError", "GoogleAuthError"}
NO_CREDENTIALS_NAMES = {"GoogleAuthError", "NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError",
                        "ProfileNotFound", "TokenRetrievalError"}  # fmt: skip


async def patiently(
    request: Callable[[], Awaitable[Answer]], where: str, pauses: Sequence[float] | None = None
) -> Answer:
    """The answer of a request, made again after growing pauses.

    Args:
        where: the URL, for messages.
        pauses: seconds before each further try; None: the usual ones.

    Raises:
        DataError: there was no answer at the last try, either.
        Exception: of the request, where it will not pass.
    """
    pauses = PAUSES if pauses is None else pauses
    for pause in (*pauses, None):
        try:
            return await request()
        except Exception as error:
            if isinstance(error, DataError) or not is_passing(error):
                raise
            if pause is None:
                raise DataError(
                    f"no answer in {len(pauses) + 1} tries over {sum(pauses):.0f} s ({described(error)})",
                    where=where,
                    fix="check the address and the network; the same command goes on from here",
                ) from error
            if pause >= LONG_PAUSE:
                print(f"{where}: {described(error)}; the next try is in {pause:.0f} s", file=sys.stderr, flush=True)
        await asyncio.sleep(pause)
    raise AssertionError("the last try returns or raises")


def is_passing(error: Exception) -> bool:
    """Whether the same request may be answered later."""
    status = _status(error)
    if status is not None:
        return status in PASSING_STATUS or status >= 500
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & LASTING_NAMES or is_refusal(error):
        return False
    if names & PASSING_NAMES or isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return True
    lasting = (FileNotFoundError, IsADirectoryError, NotADirectoryError, FileExistsError)
    return isinstance(error, OSError) and not isinstance(error, lasting) and error.errno not in LASTING_NUMBERS


def is_refusal(error: Exception) -> bool:
    """Whether the server knows the request, and will not answer it for want of permission."""
    names = {kind.__name__ for kind in type(error).__mro__}
    # gcsfs says so in words only.
    forbidden = isinstance(error, OSError) and str(error).startswith("Forbidden")
    return _status(error) in (401, 403) or isinstance(error, PermissionError) or forbidden or bool(
        names & NO_CREDENTIALS_NAMES)  # fmt: skip


def _status(error: Exception) -> int | None:
    """HTTP status of an error of aiohttp or gcsfs."""
    for name in ("status", "code"):
        value = getattr(error, name, None)
        if str(value).isdigit():
            return int(str(value))
    return None

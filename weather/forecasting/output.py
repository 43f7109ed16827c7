"""A forecast file on its way: nothing has its final name before it is complete, and a killed command goes on.

Beside ``forecast.zarr`` there is, until it is complete, the folder ``forecast.zarr.partial`` with the file itself, what
it was asked for, and a mark for each initial time that is done.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from weather.errors import ConfigError
from weather.forecasting.layout import Layout
from weather.forecasting.stores import Store, add_attributes, create_store, ending_of, file_attributes, open_store
from weather.presentation.writing import write_whole
from weather.runtime.run_folder import RunLock

REQUEST = "request"  # attribute of the file that says in JSON what it was asked for


class Output:
    """A forecast file that is being made.

    Args:
        path: its final name.
        request: what is asked for: a command with the same goes on with the file, one with another does not.
    """

    def __init__(self, path: Path, layout: Layout, request: dict[str, Any], zarr_format: int) -> None:
        ending_of(path)
        self.path, self.layout, self.zarr_format = path, layout, zarr_format
        self.request = json.loads(json.dumps(request))
        self.partial = path.with_name(path.name + ".partial")
        self.inner = self.partial / path.name
        self.asked_file = self.partial / "request.json"

    def prepare(self, locks: contextlib.ExitStack, *, overwrite: bool) -> list[int] | None:
        """Make or find the file; gives the numbers of initial times that are to do, or None if it is complete.

        Args:
            locks: that keep other commands off the file until they are left.

        Raises:
            ConfigError: something else is there, and is not to be overwritten.
            LaunchError: another process is writing this file.
        """
        begun = self._begun()
        there = self.path.exists() or self.path.is_symlink()
        if there and not overwrite:
            different = _differences(file_attributes(self.path).get(REQUEST), self.request)
            if not different:
                if not self.inner.exists():  # killed when all was done but this
                    _remove(self.partial)
                return None
            raise self._refusal(self.path, "is the output of another command", different)
        if begun is not None and begun != self.request and not overwrite:
            different = _differences(json.dumps(begun), self.request)
            raise self._refusal(self.partial, "was begun by another command", different)
        self.partial.mkdir(parents=True, exist_ok=True)
        lock = RunLock(self.partial, held="forecast", elsewhere="name another --out")
        lock.acquire()
        locks.callback(lock.release)
        begun = self._begun() if begun is None else begun  # another command may have begun just before the lock
        if begun != self.request:
            self._begin()
        return [number for number in range(len(self.layout.initial_times)) if not self._mark(number).exists()]

    def _begun(self) -> dict[str, Any] | None:
        """What an unfinished file was asked for; None where there is none, or one without its structure yet."""
        if not self.inner.exists():
            return None
        try:
            found: dict[str, Any] = json.loads(self.asked_file.read_text(encoding="utf-8"))
            return found
        except (OSError, ValueError):
            return None

    def _begin(self) -> None:
        self.asked_file.unlink(missing_ok=True)
        for old in (self.partial / "done", self.inner):
            _remove(old)
        (self.partial / "done").mkdir()
        create_store(self.inner, self.layout, self.zarr_format)
        write_whole(self.asked_file, json.dumps(self.request))  # last: without it there is nothing to go on with

    def open(self) -> Store:
        return open_store(self.inner, self.layout)

    def mark(self, number: int, record: dict[str, Any]) -> None:
        """Note that an initial time is done, with what is to be known of it at the end."""
        write_whole(self._mark(number), json.dumps(record))

    def records(self) -> list[dict[str, Any]]:
        """What was noted of each initial time."""
        return [
            json.loads(self._mark(number).read_text(encoding="utf-8"))
            for number in range(len(self.layout.initial_times))
        ]

    def _mark(self, number: int) -> Path:
        return self.partial / "done" / f"{number}.json"

    def finish(self, attributes: dict[str, str]) -> None:
        """Add what is known at the end, and give the file its name, in the place of what is to be overwritten."""
        if attributes:
            add_attributes(self.inner, attributes)
        if self.path.exists() or self.path.is_symlink():
            replaced = self.partial / "replaced"
            _remove(replaced)
            os.rename(self.path, replaced)
        os.rename(self.inner, self.path)
        shutil.rmtree(self.partial)

    def _refusal(self, where: Path, what: str, different: str) -> ConfigError:
        return ConfigError(
            f"this {what} ({different})",
            where=where,
            rule="the same command goes on with its own file, and no other's",
            fix="name another --out, or replace it with --overwrite",
        )


def _differences(written: object, request: dict[str, Any]) -> str:
    """In what a file differs from what is asked for, empty: in nothing; it may be no forecast at all."""
    try:
        asked = json.loads(str(written))
        different = sorted(key for key in {*asked, *request} if asked.get(key) != request.get(key))
        return f"it differs in: {', '.join(different)}" if different else ""
    except (ValueError, TypeError, AttributeError):
        return "it says no request"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

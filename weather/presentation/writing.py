"""How files of results are written: whole or not at all, tables as CSV, records as JSON that every program reads."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def write_whole(path: Path, text: str) -> None:
    """Write a file under a temporary name first, so that nobody reads half of it.

    Raises:
        OSError: it cannot be written.
    """
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """The same for what is no text.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)  # a full disk has room for nothing that is half there
        raise


def write_json(path: Path, record: Any) -> None:
    """Write a record as JSON, whole or not at all; numbers that are not finite become null.

    Raises:
        OSError: it cannot be written.
    """
    write_whole(path, json_text(record) + "\n")


def json_text(record: Any) -> str:
    """The same as text, without the last line's end."""
    return json.dumps(plain(record), indent=1, allow_nan=False)


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A CSV file's text; None is left empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def plain(value: Any) -> Any:
    """The same in what JSON knows; numbers that are not finite become null."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

"""The steps on disk that make a checkpoint count, each safe to be cut short, and the removal of old ones."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from weather.training.checkpoint import (
    MARKER,
    OWN_NAME,
    REPLACED,
    STATE_FILE,
    Progress,
    best_checkpoint,
    complete_checkpoints,
)
from weather.training.checkpoint_digest import ALGORITHM, FileDigest, digest_text


def prepare_folder(temporary: Path) -> None:
    """Make the folder to write into, and clear away what killed processes left: no whole checkpoint is among it."""
    for path in temporary.parent.glob("checkpoint_*"):
        if OWN_NAME.fullmatch(path.name) and not (path / MARKER).exists():
            shutil.rmtree(path)
    temporary.mkdir(parents=True)


def commit(
    temporary: Path, final: Path, progress: Progress, facts: Mapping[str, Any], files: Mapping[str, FileDigest]
) -> int:
    """Turn a folder whose tensors are all on disk into a checkpoint.

    Args:
        facts: `config`, `samples`, `strategy`, `world_size`.
        files: size and digest of every file that is in the folder.

    Returns:
        Bytes of the checkpoint.

    Raises:
        OSError: it cannot be written; what was there before is still there.
    """
    state = json.dumps({"progress": dataclasses.asdict(progress), **facts}, indent=1, allow_nan=False)
    _write_flushed(temporary / STATE_FILE, state)
    files = {**files, STATE_FILE: digest_text(state)}
    _flush_folder(temporary)
    replaced = final.with_name(final.name + REPLACED)
    if final.exists():
        if replaced.exists():
            remove_checkpoint(replaced)
        os.rename(final, replaced)  # still marked, and so still whole, until the new one is
    os.rename(temporary, final)
    _flush_folder(final.parent)
    entries = {name: {"bytes": file.bytes, ALGORITHM: file.digest} for name, file in sorted(files.items())}
    # Renamed into place, for half a marker would look like a damaged checkpoint.
    unfinished = final / (MARKER + ".tmp")
    _write_flushed(unfinished, json.dumps({"step": progress.step, "files": entries}, indent=1))
    os.rename(unfinished, final / MARKER)
    _flush_folder(final)
    if replaced.exists():
        remove_checkpoint(replaced)
    return sum(file.bytes for file in files.values())


def rotate(folder: Path, max_checkpoints: int, keep_steps: Collection[int] = ()) -> None:
    """Remove all but the newest `max_checkpoints`, the best, and those of `keep_steps`; 0 keeps all.

    Damaged ones are left to the user.
    """
    if max_checkpoints == 0:
        return
    checkpoints = complete_checkpoints(folder)
    best = best_checkpoint(checkpoints)
    for checkpoint in checkpoints[:-max_checkpoints]:
        if (best is None or checkpoint.path != best.path) and checkpoint.progress.step not in keep_steps:
            remove_checkpoint(checkpoint.path)


def remove_checkpoint(path: Path) -> None:
    """Take the marker off first: a removal that is cut short leaves nothing that looks whole."""
    (path / MARKER).unlink(missing_ok=True)
    _flush_folder(path)
    shutil.rmtree(path)


def _write_flushed(path: Path, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

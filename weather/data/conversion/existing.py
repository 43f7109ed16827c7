"""What is in the folder of an archive already: nothing, the same conversion (whole or begun), or something else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py

from weather.data.conversion.journal import REQUEST_FILE, finished_parts, forget, replace_text, work_folder
from weather.data.conversion.planning import SOURCE
from weather.data.conversion.request import SPLITS
from weather.data.conversion.sources import SourceFile
from weather.data.static_fields import FILE as STATIC_FILE
from weather.data.statistics import FOLDER as STATISTICS_FOLDER
from weather.errors import DataError

PROVENANCE_FILE = "provenance.json"


def check_place(archive: Path, sources: Sequence[SourceFile]) -> None:
    """Refuse to write an archive over a file, or into a Zarr store that is read.

    Raises:
        DataError: says which.
    """
    if archive.exists() and not archive.is_dir():
        raise DataError("OUT is a file", where=archive, rule="an archive is a folder", fix="name another folder")
    place = archive.resolve()
    stores = {Path(source.path).resolve() for source in sources if source.kind == "zarr" and not source.remote}
    if stores & {place, *place.parents}:
        raise DataError("OUT lies in a Zarr store that is a source", where=archive, rule="sources stay as they are",
                        fix="name a folder beside it")  # fmt: skip


def is_complete(archive: Path, identity: dict[str, Any], *, overwrite: bool) -> bool:
    """Whether the same conversion is whole; otherwise the folder is free for it, or it goes on there.

    Another conversion that was stopped before a file was whole is no loss: it is replaced.

    Args:
        identity: what is asked for, and of which sources, as JSON gives it back.
        overwrite: an archive of another conversion may be removed.

    Raises:
        DataError: the folder holds something else.
    """
    for path in (archive / PROVENANCE_FILE, work_folder(archive) / REQUEST_FILE):
        try:
            found = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        if found.get("source", SOURCE) != SOURCE:
            break
        differences = _differences(found, identity)
        if not differences:
            return path.name == PROVENANCE_FILE and not overwrite
        if overwrite or not (path.name == PROVENANCE_FILE or finished_parts(archive)):
            return False
        state = "holds" if path.name == PROVENANCE_FILE else "holds the beginning of"
        raise DataError(f"it {state} another conversion: {'; '.join(differences[:3])}", where=archive,
                        rule="a conversion has a folder of its own",
                        fix="choose another folder, or replace what is there (--overwrite)")  # fmt: skip
    foreign = next((path for path in _year_files(archive) if not _written_here(path)), None)
    if foreign is not None:
        raise DataError("this file was not written by weather.convert and will not be touched", where=foreign,
                        rule="a conversion has a folder of its own", fix="choose another folder")  # fmt: skip
    return False


def _differences(found: dict[str, Any], identity: dict[str, Any]) -> list[str]:
    before, now = found.get("request", {}), identity["request"]
    differences = [f"{key} {_short(before.get(key))}, not {_short(value)}" for key, value in now.items()
                   if key != "sources" and before.get(key) != value]  # fmt: skip
    old, new = ({item["path"]: item for item in side} for side in (found.get("sources", []), identity["sources"]))
    differences += [f"a source that is not there now: {path}" for path in old.keys() - new.keys()]
    differences += [f"another source: {path}" for path in new.keys() - old.keys()]
    differences += [f"a source that has changed: {path}" for path in old.keys() & new.keys() if old[path] != new[path]]
    return differences


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) < 80 else text[:77] + "..."


def make_room(archive: Path, identity: dict[str, Any], *, overwrite: bool) -> None:
    """Remove what another conversion wrote, if that was allowed, and write down what begins now."""
    path = work_folder(archive) / REQUEST_FILE
    try:
        goes_on = json.loads(path.read_text()) == identity and not overwrite
    except (OSError, ValueError):
        goes_on = False
    if not goes_on:
        for file in _year_files(archive):
            if _written_here(file):
                file.unlink()
        for split in SPLITS:
            for file in (archive / split).glob("*.h5.unfinished*"):
                file.unlink()
        if overwrite:
            shutil.rmtree(archive / STATISTICS_FOLDER, ignore_errors=True)
            for name in (STATIC_FILE, PROVENANCE_FILE):
                (archive / name).unlink(missing_ok=True)
        forget(archive)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, json.dumps(identity))


def _year_files(archive: Path) -> list[Path]:
    return [path for split in SPLITS for path in sorted((archive / split).glob("*.h5"))]


def _written_here(path: Path) -> bool:
    try:
        with h5py.File(path, "r", locking=False) as file:
            return bool(file.attrs.get("source") == SOURCE)
    except OSError:
        return False

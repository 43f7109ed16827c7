"""Which files a conversion reads: globs and folders are resolved, formats are told by the first bytes."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from weather.data.conversion.urls import checked, is_url
from weather.errors import DataError

ZARR_MARKS = ("zarr.json", ".zgroup", ".zmetadata", ".zattrs")
SUFFIXES = (".nc", ".nc3", ".nc4", ".cdf", ".netcdf", ".h5", ".hdf5", ".grib", ".grib1", ".grib2", ".grb", ".grb2",
            ".gb", ".gb2", ".zarr")  # fmt: skip
FORMATS = "NetCDF 3 and 4, Zarr 2 and 3 and GRIB 1 and 2 are read"


@dataclass(frozen=True)
class SourceFile:
    """A file, or a Zarr store, as it was found.

    Attributes:
        path: or URL.
        kind: netcdf3 | netcdf4 | grib | zarr.
        size: bytes; of a Zarr store those of its metadata.
        modified: nanoseconds since 1970; of a Zarr store of its metadata.
        fingerprint: of a store at a URL, instead of size and time, a digest of its arrays' metadata.
        credentials: a store at a URL is not given without.
    """

    path: str
    kind: str
    size: int = 0
    modified: int = 0
    fingerprint: str = ""
    credentials: bool = False

    @property
    def remote(self) -> bool:
        return is_url(self.path)

    def record(self) -> dict[str, str | int]:
        """What the provenance says of it."""
        said = ("path", "kind", "fingerprint") if self.remote else ("path", "kind", "size", "modified")
        return {name: value for name, value in asdict(self).items() if name in said}


def find_sources(words: Sequence[str]) -> list[SourceFile]:
    """The files that paths, globs, folders and URLs name, each once, by path.

    Raises:
        ConfigError: a URL is none that is read, or a package for it is missing.
        DataError: nothing is there, or a file is empty or of no known format.
    """
    paths: dict[Path | str, str] = {}
    for word in words:
        if is_url(word):
            paths.setdefault(url := checked(word), url)
            continue
        for path in _resolve(word):
            paths.setdefault(path.resolve(), str(path.absolute()))  # a link and what it leads to are one
    found = sorted(paths.values(), key=_natural)
    return [_identify_store(path) if is_url(path) else identify(Path(path)) for path in found]


def _identify_store(url: str) -> SourceFile:
    from weather.data.conversion.remote import identify_url

    fingerprint, credentials = identify_url(url)
    return SourceFile(url, "zarr", fingerprint=fingerprint, credentials=credentials)


def _natural(path: str) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", path)]


def _resolve(word: str) -> list[Path]:
    path = Path(word).expanduser()
    found = [path] if path.exists() else [Path(name) for name in glob.glob(str(path), recursive=True)]
    if not found:
        raise DataError("nothing is there", where=word, rule="a source is a file, a folder, a Zarr store or a glob",
                        fix="check the path; quote a glob, or let the shell expand it")  # fmt: skip
    files: list[Path] = []
    for item in found:
        if item.is_dir() and not _is_zarr(item):
            # Hidden files are left out, as by a glob: macOS puts one beside each file on a foreign disk.
            files += [entry for entry in item.iterdir() if not entry.name.startswith(".")
                      and (entry.suffix.lower() in SUFFIXES or _is_zarr(entry))]  # fmt: skip
        else:
            files.append(item)
    if not files:
        raise DataError("no file of a known format in this folder", where=word,
                        rule=f"{FORMATS}, by their suffixes {' '.join(SUFFIXES)}",
                        fix="name the files themselves, or their folder")  # fmt: skip
    return files


def _is_zarr(path: Path) -> bool:
    return path.is_dir() and (path.suffix == ".zarr" or any((path / mark).exists() for mark in ZARR_MARKS))


def identify(path: Path) -> SourceFile:
    """Format, size and time of a file.

    Raises:
        DataError: it is empty or of no known format.
    """
    if path.is_dir():
        marks = [path / mark for mark in ZARR_MARKS if (path / mark).exists()]
        if not marks:
            raise DataError("no Zarr store: it has no metadata", where=path, rule=f"one of {', '.join(ZARR_MARKS)}")
        return SourceFile(str(path), "zarr", sum(mark.stat().st_size for mark in marks),
                          max(mark.stat().st_mtime_ns for mark in marks))  # fmt: skip
    status = path.stat()
    with open(path, "rb") as file:
        head = file.read(8)
    if not head:
        raise DataError("the file is empty", where=path, fix="fetch it again, or leave it out")
    if head[:3] == b"CDF" and head[3:4] in (b"\x01", b"\x02", b"\x05"):
        kind = "netcdf3"
    elif head == b"\x89HDF\r\n\x1a\n":
        kind = "netcdf4"
    elif head[:4] == b"GRIB":
        kind = "grib"
    else:
        raise DataError(f"neither NetCDF nor GRIB (it begins with {head[:4]!r})", where=path, rule=FORMATS,
                        fix="fetch it again (an error page of a download?), or leave it out")  # fmt: skip
    return SourceFile(str(path), kind, status.st_size, status.st_mtime_ns)


@contextmanager
def reachable(source: SourceFile) -> Iterator[Any]:
    """What Zarr opens: a path, or within the block a store that is read by URL.

    Raises:
        ConfigError: a package is missing.
    """
    if not source.remote:
        yield source.path
        return
    from weather.data.conversion.remote_store import RemoteStore

    store = RemoteStore(source.path, credentials=source.credentials)
    try:
        yield store
    finally:
        store.shut()

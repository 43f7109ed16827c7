"""An archive of synthetic weather: year files and statistics, to test and to learn with before ERA5 is at hand.

The weather is that of a two-layer quasi-geostrophic model (`quasigeostrophic`): chaotic, coupled between its channels,
predictable for days and not for weeks. Every year is an independent trajectory of its own, so nothing leaks from the
training years into the others, and by default all years cover the same season (from 1 January), so that they are drawn
from one distribution.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from weather.data.archive import open_split
from weather.data.moments import Moments
from weather.data.quasigeostrophic import CHANNELS, Diagnosis, TwoLayerModel
from weather.data.statistics import FOLDER, MEANS_FILE, RECORD_FILE, STANDARD_DEVIATIONS_FILE, write_record
from weather.data.statistics_collection import make_record
from weather.data.synthetic_request import MANIFEST, SPIN_UP_DAYS, UNFINISHED, Request, chosen_channels, split_years
from weather.data.year_file import create_year_file, default_latitude, default_longitude
from weather.errors import DataError

SOURCE = "weather.synthesize"  # the attribute `source` of every year file written here
STEPS_PER_HOUR = 3  # at T31, in proportion at others
MEMBERS_AT_ONCE = 4  # years integrated side by side; the cost of each falls up to here and rises beyond (cache)
BYTES_AT_ONCE = 32 * 2**20  # of fields in memory, unless one state is larger

Progress = Callable[[float, float], None]
log = logging.getLogger(__name__)


def create_test_data(
    data_dir: str | os.PathLike[str],
    *,
    height: int = 64,
    width: int = 128,
    channels: int | Sequence[str] | None = None,
    train_years: int = 2,
    valid_years: int = 1,
    test_years: int = 1,
    states_per_year: int | None = 400,
    first_year: int = 2000,
    step_hours: int = 6,
    seed: int = 0,
    truncation: int = 31,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write an archive ``train/*.h5 valid/*.h5 test/*.h5 stats/*.npy`` of synthetic weather, one file a year.

    Where the same archive is there already, nothing is done; where it is incomplete, it is written anew. The same
    request makes the same fields bit by bit on the same machine with the same libraries and number of threads;
    elsewhere rounding differs, and chaos makes other weather of the same climate out of that.

    Args:
        data_dir: folder of the archive; made if it is missing.
        height: number of latitudes, north to south; odd numbers have both poles.
        width: number of longitudes from 0 degrees east.
        channels: names out of `quasigeostrophic.CHANNELS`, or how many of them from the first; default: all.
        train_years: number of year files; those of `valid_years` and `test_years` follow in the calendar.
        states_per_year: states in each file, from 1 January 00:00; None: whole calendar years, and only every second.
        first_year: the first training year.
        step_hours: hours between states, a divisor of 24.
        seed: of the initial states.
        truncation: highest wavenumber of the model; T31 resolves about 400 km on any grid.
        overwrite: replace an archive that was made with another request (only ever one that was made here).
        progress: called with the days simulated and the days to simulate.

    Returns:
        `data_dir` as a path.

    Raises:
        ConfigError: the request cannot be met.
        DataError: another archive is there, or it cannot be written.
    """
    request = Request(
        height=height,
        width=width,
        channels=chosen_channels(channels),
        years=split_years(
            first_year,
            {"train": train_years, "valid": valid_years, "test": test_years},
            # Whole years that followed one another would read as one trajectory, which they are not.
            apart=2 if states_per_year is None else 1,
        ),
        states_per_year=states_per_year,
        step_hours=step_hours,
        seed=seed,
        truncation=truncation,
    )
    request.check()
    data_dir = Path(data_dir)
    if _is_complete(data_dir, request, overwrite):
        log.info("%s holds this archive already; nothing to do", data_dir)
        return data_dir
    try:
        _make_room(data_dir, request)
        (data_dir / UNFINISHED).write_text(json.dumps(asdict(request), indent=1) + "\n")
        moments = _write_years(data_dir, request, progress)
        write_record(data_dir, make_record(data_dir, open_split(data_dir, "train"), moments))
        os.replace(data_dir / UNFINISHED, data_dir / MANIFEST)
    except OSError as error:
        raise DataError(f"the archive cannot be written ({error})", where=data_dir) from error
    log.info("wrote %d years of %s to %s", len(request.files), ", ".join(request.channels), data_dir)
    return data_dir


def _is_complete(data_dir: Path, request: Request, overwrite: bool) -> bool:
    """Whether the archive is there as requested; False where it is missing, incomplete, or to be overwritten."""
    manifest = data_dir / MANIFEST
    if not manifest.exists():
        return False
    wanted, found = json.loads(json.dumps(asdict(request))), _read_manifest(manifest)
    if found != wanted:
        if overwrite:
            return False
        differences = [
            f"{key} {found.get(key)} and not {value}" for key, value in wanted.items() if found.get(key) != value
        ]
        raise DataError(
            f"another synthetic archive is there, with {', '.join(differences)}",
            where=manifest,
            fix="choose another data_dir, or overwrite it (overwrite=True, --overwrite)",
        )
    files = [_year_path(data_dir, split, year) for split, year in request.files]
    return all(path.exists() for path in (*files, *_statistics_files(data_dir)))


def _read_manifest(path: Path) -> dict[str, Any]:
    """Empty if it is missing or damaged."""
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def _make_room(data_dir: Path, request: Request) -> None:
    """Remove what an earlier call wrote; refuse to touch, or to mix with, anything else.

    Raises:
        DataError: there are files of other origin, or the disk is too small.
    """
    manifest = data_dir / MANIFEST
    files = [path for split in request.years for path in sorted((data_dir / split).glob("*.h5"))]
    statistics = [path for path in _statistics_files(data_dir) if path.exists()]
    foreign = [path for path in files if not _written_here(path)]
    if statistics and not files and not manifest.exists():
        foreign = statistics
    if foreign:
        raise DataError(
            "this file is no synthetic weather and will not be touched",
            where=foreign[0],
            rule="synthetic weather has a folder of its own",
            fix="choose another data_dir",
        )
    started = _read_manifest(data_dir / UNFINISHED).get("years", {})
    abandoned = [Path(f"{_year_path(data_dir, split, year)}.partial") for split in started for year in started[split]]
    for path in (manifest, *statistics, *files, *abandoned):
        path.unlink(missing_ok=True)
    data_dir.mkdir(parents=True, exist_ok=True)
    needed = request.bytes_per_state * sum(request.states(year) for _, year in request.files)
    free = shutil.disk_usage(data_dir).free
    if needed > free:
        raise DataError(f"{needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free", where=data_dir,
                        fix="ask for fewer years, states or channels, or a coarser grid")  # fmt: skip


def _year_path(data_dir: Path, split: str, year: int) -> Path:
    return data_dir / split / f"{year:04d}.h5"


def _statistics_files(data_dir: Path) -> list[Path]:
    return [data_dir / FOLDER / name for name in (MEANS_FILE, STANDARD_DEVIATIONS_FILE, RECORD_FILE)]


def _year_file(
    data_dir: Path, request: Request, split: str, year: int
) -> contextlib.AbstractContextManager[h5py.Dataset]:
    latitude, longitude = _grid(request)
    start = np.datetime64(f"{year:04d}-01-01") - np.datetime64("2000-01-01")
    return create_year_file(
        _year_path(data_dir, split, year),
        states=request.states(year),
        channels=request.channels,
        latitude=latitude,
        longitude=longitude,
        time_hours=start.astype(int) * 24.0 + np.arange(request.states(year)) * request.step_hours,
        channel_units=[CHANNELS[channel] for channel in request.channels],
        attributes={"source": SOURCE, "comment": "two-layer quasi-geostrophic model, no real weather"},
    )


def _grid(request: Request) -> tuple[np.ndarray, np.ndarray]:
    return default_latitude(request.height), default_longitude(request.width)


def _written_here(path: Path) -> bool:
    try:
        with h5py.File(path, "r", locking=False) as file:
            return file.attrs.get("source") == SOURCE
    except OSError:
        return False


def _write_years(data_dir: Path, request: Request, progress: Progress | None) -> Moments:
    """Write all year files, some of them side by side; the moments of the training years."""
    moments = Moments(len(request.channels))
    files = request.files
    batches = [files[start : start + MEMBERS_AT_ONCE] for start in range(0, len(files), MEMBERS_AT_ONCE)]
    days_to_do = sum(request.days_to_simulate([year for _, year in batch]) for batch in batches)
    days_done = 0.0

    def simulated(days: float) -> None:
        nonlocal days_done
        days_done += days
        if progress is not None:
            progress(days_done, days_to_do)

    for batch in batches:
        with contextlib.ExitStack() as stack:
            writers = [stack.enter_context(_year_file(data_dir, request, split, year)) for split, year in batch]
            for index, members, fields in _weather(request, [year for _, year in batch], simulated):
                for (split, year), writer, state in zip(batch[members], writers[members], fields, strict=True):
                    if index < request.states(year):
                        writer[index] = state
                        if split == "train":
                            moments.update(state[None])
    return moments


def _weather(
    request: Request, years: list[int], simulated: Callable[[float], None]
) -> Iterator[tuple[int, slice, np.ndarray]]:
    """States of independent `years`: index in time, which years, and their fields [year, channel, lat, lon]."""
    steps = math.ceil(request.step_hours * STEPS_PER_HOUR * request.truncation / 31)
    model = TwoLayerModel(
        [(request.seed, year) for year in years],
        day=-SPIN_UP_DAYS,
        truncation=request.truncation,
        step=request.step_hours * 3600.0 / steps,
    )
    latitude, longitude = _grid(request)
    diagnosis = Diagnosis(request.channels, latitude, longitude, request.truncation)
    members_at_once = max(1, BYTES_AT_ONCE // request.bytes_per_state)

    def go_on() -> None:
        for _ in range(steps):
            model.step()
        if not np.isfinite(model.vorticity).all():
            raise DataError(f"the model became unstable on day {model.day:.1f}", where=f"seed {request.seed}",
                            fix="choose another seed or truncation")  # fmt: skip
        simulated(len(years) * request.step_hours / 24)

    for _ in range(SPIN_UP_DAYS * 24 // request.step_hours):
        go_on()
    for index in range(max(map(request.states, years))):
        for first in range(0, len(years), members_at_once):
            members = slice(first, first + members_at_once)
            yield index, members, diagnosis.fields(model, members)
        go_on()

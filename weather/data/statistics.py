"""An archive's ``stats/``: written together, read back and checked.

==========================  =======================================================================================
``global_means.npy``        [1, C, 1, 1] float32, what a model's inputs are shifted by
``global_stds.npy``         [1, C, 1, 1] float32, what they are divided by
``statistics.json``         the same in float64 with counts and ranges, of which files, states and years, and the
                            differences x(t + lead) - x(t) by lead; an archive made elsewhere may lack it
==========================  =======================================================================================

All are over training states and grid points alike, without area weights.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from weather.data.moments import Moments, Statistics
from weather.data.statistics_record import StatisticsRecord
from weather.errors import DataError

FOLDER = "stats"
MEANS_FILE = "global_means.npy"
STANDARD_DEVIATIONS_FILE = "global_stds.npy"
RECORD_FILE = "statistics.json"


def write_record(data_dir: Path, record: StatisticsRecord) -> None:
    """Write all three files of ``stats/``.

    The record gets its name first: a writer that is killed before the other two leaves arrays that do not fit it,
    which `read_statistics` refuses, and never a mean of one archive beside the standard deviation of another.

    Raises:
        DataError: there is no state, or a channel's statistics are not finite.
    """
    folder = Path(data_dir) / FOLDER
    if not record.moments.count:
        raise DataError("no state to take statistics of", where=folder, rule="statistics are those of training states")
    taken: dict[str, Moments] = {"": record.moments}
    taken |= {f" (differences at lead {lead})": moments for lead, moments in record.differences.items()}
    for name, moments in taken.items():
        wrong = np.flatnonzero(~np.isfinite(moments.mean) | ~np.isfinite(moments.squares))
        if wrong.size:
            raise DataError(
                f"the statistics of channel '{record.channels[wrong[0]]}'{name} are not finite",
                where=folder,
                rule="every value of a training state is finite",
                fix=f"see where it is not: python -m weather.doctor data --full --set data.data_dir={data_dir}",
            )
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record.to_json(), indent=1, allow_nan=False) + "\n"
    replace_file(folder / RECORD_FILE, lambda file: file.write(text.encode()))
    _write_arrays(folder, record.moments.statistics)


def write_statistics(data_dir: Path, statistics: Statistics) -> None:
    """Write the two arrays alone, of statistics that come from elsewhere; a record that is there is removed."""
    folder = Path(data_dir) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECORD_FILE).unlink(missing_ok=True)
    _write_arrays(folder, statistics)


def _write_arrays(folder: Path, statistics: Statistics) -> None:
    for name, values in ((MEANS_FILE, statistics.means), (STANDARD_DEVIATIONS_FILE, statistics.stds)):
        array = values.astype(np.float32).reshape(1, -1, 1, 1)
        replace_file(folder / name, lambda file, array=array: np.save(file, array))  # type: ignore[misc]


def replace_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file under a temporary name, onto the disk, and only then in place of the one before."""
    partial = path.with_name(f"{path.name}.partial")
    with open(partial, "w+b") as file:  # h5py reads back what it writes
        write(file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def read_record(data_dir: Path) -> StatisticsRecord | None:
    """What ``statistics.json`` says; None where an archive has none.

    Raises:
        DataError: it is damaged.
    """
    path = Path(data_dir) / FOLDER / RECORD_FILE
    try:
        return StatisticsRecord.from_json(json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise DataError(
            f"not a readable record of statistics ({type(error).__name__}: {error})",
            where=path,
            fix=f"compute it again: {command(data_dir)}",
        ) from error


def command(data_dir: Path, *options: str) -> str:
    """The command line that computes the statistics of an archive."""
    return " ".join(("python -m weather.statistics", str(data_dir), *options))


def read_statistics(data_dir: Path, channels: tuple[str, ...], selected: tuple[int, ...] | None = None) -> Statistics:
    """Read the statistics of an archive with these channels; [1, C, 1, 1], [C, 1, 1] and [C] are accepted.

    Args:
        channels: all of the archive.
        selected: positions of those that are used; None: all.

    Raises:
        DataError: a file is missing, has another length, is not finite, a standard deviation is not positive, or the
            files are not of the same statistics.
    """
    folder = Path(data_dir) / FOLDER
    means = _read(folder / MEANS_FILE, channels)
    stds_file = folder / STANDARD_DEVIATIONS_FILE
    stds = _read(stds_file, channels)
    _check_record(Path(data_dir), channels, Statistics(means, stds))
    used = list(range(len(channels))) if selected is None else list(selected)
    _check_positive(stds, used, channels, stds_file)
    return Statistics(means[used], stds[used])


def read_difference_statistics(data_dir: Path, channels: Sequence[str], lead_steps: int) -> Statistics:
    """Mean and standard deviation of x(t + lead) - x(t) over the training states, for channels in the order named.

    Args:
        lead_steps: time steps of the archive.

    Raises:
        DataError: they were never computed for this lead, or a channel is unknown or never changes; the message has
            the command that computes them.
    """
    record, path = read_record(data_dir), Path(data_dir) / FOLDER / RECORD_FILE
    known = sorted(record.differences) if record is not None else []
    if record is None or lead_steps not in known:
        leads = ",".join(map(str, sorted({*known, lead_steps})))
        there = f"; there are those at {', '.join(map(str, known))}" if known else ""
        raise DataError(
            f"no statistics of differences at a lead of {lead_steps} time steps{there}",
            where=path,
            fix=f"add them: {command(data_dir, f'--leads {leads}')}",
        )
    unknown = [channel for channel in channels if channel not in record.channels]
    if unknown:
        raise DataError(
            f"no channel '{unknown[0]}'",
            where=path,
            rule=f"it has {', '.join(record.channels)}",
            fix=f"compute it again: {command(data_dir)}",
        )
    used = [record.channels.index(channel) for channel in channels]
    differences = record.differences[lead_steps].statistics
    _check_positive(differences.stds, used, record.channels, f"{path}, differences at lead {lead_steps}")
    return Statistics(differences.means[used], differences.stds[used])


def _check_record(data_dir: Path, channels: tuple[str, ...], arrays: Statistics) -> None:
    """The record and the arrays are of the same statistics."""
    record = read_record(data_dir)
    if record is None:
        return
    path, expected = data_dir / FOLDER / RECORD_FILE, record.moments.statistics
    if record.channels != channels:
        raise DataError(
            f"it is of the channels {', '.join(record.channels)}",
            where=path,
            rule=f"the archive has {', '.join(channels)}",
            fix=f"compute it again: {command(data_dir)}",
        )
    if not (np.array_equal(arrays.means, expected.means) and np.array_equal(arrays.stds, expected.stds)):
        raise DataError(
            f"it says something else than {MEANS_FILE} and {STANDARD_DEVIATIONS_FILE} beside it",
            where=path,
            rule="all files of stats/ are of the same statistics",
            fix=f"compute them again ({command(data_dir)}), or remove {RECORD_FILE} if the arrays are yours",
        )


def _check_positive(stds: np.ndarray, used: Sequence[int], channels: Sequence[str], where: object) -> None:
    for index in used:
        if stds[index] <= 0:
            raise DataError(
                f"channel '{channels[index]}' has standard deviation {stds[index]:g}",
                where=where,
                rule="every standard deviation is positive",
                fix="leave the channel out (data.channels) or compute the statistics again",
            )


def _read(path: Path, channels: tuple[str, ...]) -> np.ndarray:
    try:
        values = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(
            "the file is missing",
            where=path,
            rule=f"stats/ holds {MEANS_FILE} and {STANDARD_DEVIATIONS_FILE}",
            fix=f"compute them: {command(path.parents[1])}",
        ) from error
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"not a readable .npy file ({error})", where=path) from error
    count = len(channels)
    if values.shape not in ((1, count, 1, 1), (count, 1, 1), (count,)):
        raise DataError(
            f"shape {values.shape} does not fit the archive's {count} channels",
            where=path,
            rule=f"[1, {count}, 1, 1], [{count}, 1, 1] or [{count}]",
        )
    flat = values.reshape(-1)
    if not np.issubdtype(flat.dtype, np.number) or not np.isfinite(flat).all():
        raise DataError("not all values are finite numbers", where=path)
    return flat.astype(np.float32)

"""How fast samples can be read: what a sample takes out of a file by its layout, and what random samples took."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from weather.data.archive import Split, join_files
from weather.data.loader import Samples
from weather.data.reader import StateReader, bytes_touched
from weather.data.year_file import FIELDS, open_for_reading
from weather.diagnosis.archive_files import YearFile
from weather.diagnosis.archive_survey import reading_failed
from weather.diagnosis.findings import Section, Severity
from weather.errors import DataError

MEASURED_SECONDS = 2.0
MOST_SAMPLES = 200
PLAIN_BYTES = 128 * 2**20
BLOCK = 4 * 2**20
MUCH = 1.5  # times the bytes that a sample needs


def layout_section(
    files: Sequence[YearFile], channels: Sequence[int], sequence_length: int, dt: int, seed: int = 0
) -> Section:
    """For the largest training file of each layout: read amplification, predicted and measured rate of samples.

    A sample is `sequence_length` + 1 states. `read_factor` is what HDF5 must take out of the file over what the
    sample needs; the prediction is the plain read rate over the bytes on disk, decompression not counted.
    """
    section = Section(
        "read rate",
        columns=("file", "chunks", "compression", "sample_mb", "read_factor", "disk_mb", "plain_mb_s",
                 "predicted_samples_s", "measured_samples_s", "measured_mb_s"),
    )  # fmt: skip
    section.facts["method"] = "one thread, random samples, after the system was asked to forget the file"
    layouts: dict[tuple[object, ...], YearFile] = {}
    for file in sorted(files, key=lambda file: (file.split == "train", file.header.states)):
        layouts[(file.chunks, file.compression, str(file.header.dtype))] = file
    for file in layouts.values():
        try:
            section.rows.append(_measure(section, file, channels, sequence_length, dt, np.random.default_rng(seed)))
        except (DataError, OSError, RuntimeError) as error:
            section.find(Severity.ERROR, "data.read", reading_failed(file, error))
    return section


def _measure(
    section: Section,
    file: YearFile,
    channels: Sequence[int],
    sequence_length: int,
    dt: int,
    generator: np.random.Generator,
) -> tuple[object, ...]:
    path, rows_columns = file.header.path, file.header.grid
    with open_for_reading(path) as opened:
        touched = bytes_touched(opened[FIELDS], channels)
    states = sequence_length + 1
    itemsize = file.header.dtype.itemsize
    needed = states * len(channels) * rows_columns[0] * rows_columns[1] * itemsize
    factor = states * touched / needed
    on_disk = states * touched * file.stored
    split = join_files(file.split, [file.header])
    forget(path)
    plain = plain_rate(path)
    forget(path)
    rate = sample_rate(split, channels, sequence_length, dt, generator)
    chunks = "contiguous" if file.chunks is None else "x".join(map(str, file.chunks))
    if factor > MUCH:
        section.find(
            Severity.WARNING,
            "data.read_factor",
            f"{file.name} (chunks {chunks}{', ' + file.compression if file.compression else ''}): reading a sample "
            f"takes {factor:.1f} times the bytes that it needs",
            "write the archive contiguous, or uncompressed in chunks of one state and whole planes",
        )
    elif file.compression:
        section.find(
            Severity.NOTE,
            "data.compression",
            f"{file.name} is compressed ({file.compression}, to {file.stored:.0%}): HDF5 decompresses on one core",
            "write the archive uncompressed where reading limits the training",
        )
    return (file.name, chunks, file.compression, needed / 1e6, factor, on_disk / 1e6, plain / 1e6, plain / on_disk,
            rate, rate * needed / 1e6)  # fmt: skip


def forget(path: Path) -> None:
    """Ask the system to drop the file from its cache, so that the disk is measured where that is possible."""
    if hasattr(os, "posix_fadvise"):
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def plain_rate(path: Path) -> float:
    """Bytes per second of reading the file from its start."""
    buffer, total = bytearray(BLOCK), 0
    began = time.perf_counter()
    with open(path, "rb", buffering=0) as file:
        while total < PLAIN_BYTES and (count := file.readinto(buffer)):
            total += count
    return total / (time.perf_counter() - began)


def sample_rate(
    split: Split, channels: Sequence[int], sequence_length: int, dt: int, generator: np.random.Generator
) -> float:
    """Samples per second that the project's reader gives in one thread, in random order.

    Raises:
        DataError: the file has no sample, or cannot be read.
    """
    samples = Samples(split, split.starts(sequence_length, dt), sequence_length, dt)
    out = np.empty((sequence_length + 1, len(channels), *split.grid), np.float32)
    reader = StateReader(split, channels)
    order = generator.permutation(len(samples))[:MOST_SAMPLES]
    try:
        reader.read(samples.states(0), out)  # opens the file
        count, began = 0, time.perf_counter()
        for position in order:
            reader.read(samples.states(int(position)), out)
            count += 1
            if time.perf_counter() - began > MEASURED_SECONDS:
                break
    finally:
        reader.close()
    return count / (time.perf_counter() - began)

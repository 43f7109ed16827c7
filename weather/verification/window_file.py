"""The climatology by day of year and hour: kept on disk, made there when it is first wanted, read state by state.

The file has the format of a year file with hours x 366 states, so that it is read as fast as the archive.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from weather.data.archive import Archive, join_files
from weather.data.loader import BatchLoader, Samples
from weather.data.reader import StateReader
from weather.data.year_file import read_header
from weather.errors import DataError, WeatherError
from weather.runtime.collectives import fail_together, on_first_rank
from weather.runtime.ranks import Ranks
from weather.verification.window import DAYS, Window
from weather.verification.window_making import WindowMaking, create


class WindowClimatology:
    """A climatology on disk.

    Args:
        path: its file.
        words: what it is.
    """

    def __init__(self, path: Path, window: Window, words: str) -> None:
        self.path, self.window, self.words = path, window, words
        self.split = join_files("climatology", [read_header(path)])

    def at(self, time: np.ndarray | None, count: int) -> np.ndarray:
        """Fields [count, channel, lat, lon] float32 that are usual at times [count]."""
        assert time is not None, "an archive without time stamps has no climatology by day of year"
        _, channels, rows, columns = self.split.headers[0].shape
        fields = np.empty((count, channels, rows, columns), np.float32)
        reader = StateReader(self.split, range(channels))
        with contextlib.closing(reader):
            reader.read(self.window.slots(time), fields)
        return fields

    def open(self, device: torch.device, *, batch_size: int, threads: int) -> WindowFields:
        """Its fields on a device; see `climatology.ClimatologyFields`."""
        return WindowFields(self, device, batch_size, threads)

    def describe(self) -> str:
        return self.words


class WindowFields:
    """Reads usual fields ahead of their use."""

    def __init__(self, climatology: WindowClimatology, device: torch.device, batch_size: int, threads: int) -> None:
        split, self.window = climatology.split, climatology.window
        samples = Samples(split, np.arange(split.states), 0, 1)
        channels = range(split.headers[0].shape[1])
        self.loader = BatchLoader(samples, channels, batch_size=batch_size, device=device, threads=threads)

    def batches(self, order: Iterable[tuple[np.ndarray | None, int]]) -> Iterator[torch.Tensor]:
        for batch in self.loader.batches(self.window.slots(time) for time, _ in order if time is not None):
            yield batch.fields[:, 0]

    def close(self) -> None:
        self.loader.close()


def window_climatology(
    archive: Archive,
    window: Window,
    *,
    ranks: Ranks,
    channels: int | None,
    report: Callable[[str], None],
    progress: Callable[[int, int], None],
) -> WindowClimatology:
    """Find the climatology of the training split on disk, or make it; all ranks call it.

    It lies in the archive's ``stats/``, or, where that cannot be written, in ``~/.cache/weather`` ($XDG_CACHE_HOME).
    Its name has a digest of what it is of: a changed archive gets a new one.

    Args:
        channels: how many of the first channels; None: all.
        report: told where it is made; progress: told how many states of how many this rank has taken in.

    Raises:
        DataError: there is no room for it, or a state cannot be read.
    """
    split, indices = archive.splits["train"], archive.channel_indices[:channels]
    words = f"{window.describe()}, of {split.states} training states"
    subject = on_first_rank(lambda: _subject(archive, indices, window))
    digest = hashlib.blake2b(json.dumps(subject).encode(), digest_size=8).hexdigest()
    path, there = on_first_rank(lambda: _place(archive.data_dir, f"climatology-{digest}.h5"))
    if not there:
        gigabytes = 4e-9 * len(window.hours) * DAYS * len(indices) * archive.grid[0] * archive.grid[1]
        report(f"climatology: {words}; made once ({gigabytes:.2g} GB): {path}")
        layout = on_first_rank(lambda: create(path, archive, len(indices), window, words))
        making = WindowMaking(layout, split, indices, window, ranks, progress)
        for part in (making.add_up, making.smooth):
            _together(part, path)
        on_first_rank(lambda: layout.finish(path))
    return WindowClimatology(path, window, words)


def _together(part: Callable[[], None], path: Path) -> None:
    """This rank's share of a part; all ranks have done theirs, or all fail."""
    problem: WeatherError | None = None
    try:
        part()
    except OSError as error:
        problem = DataError(f"the climatology cannot be made ({error})", where=path)
    except WeatherError as error:
        problem = error
    fail_together(problem)


def _subject(archive: Archive, indices: tuple[int, ...], window: Window) -> list[object]:
    """All that the numbers depend on."""
    split = archive.splits["train"]
    files = [(h.path.name, (s := h.path.stat()).st_size, s.st_mtime_ns) for h in split.headers]
    arrays = (split.time, archive.latitude, archive.longitude, window.hours, window.half_widths, window.counts)
    content = hashlib.blake2b(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays if a is not None)).hexdigest()
    coarsening = "" if split.coarsening is None else repr((split.coarsening.factor, split.coarsening.columns))
    rows = "" if split.coarsening is None else hashlib.blake2b(split.coarsening.row_weights.tobytes()).hexdigest()
    return [files, list(indices), list(archive.channels), content, coarsening, rows]


def _place(data_dir: Path, name: str) -> tuple[Path, bool]:
    """Where the file is or goes, and whether it is there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "weather"
    for folder in (data_dir / "stats", cache):
        if (folder / name).exists():
            return folder.absolute() / name, True
    folder = data_dir / "stats" if os.access(data_dir / "stats", os.W_OK) else cache
    folder.mkdir(parents=True, exist_ok=True)
    return folder.absolute() / name, False

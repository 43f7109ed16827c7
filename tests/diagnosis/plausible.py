"""Archives whose channels look like what they are called, to plant defects into."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

from tests.archives import WrittenArchive
from weather.data.moments import Moments
from weather.data.statistics import write_statistics

CHANNELS = ("t2m", "u10", "v10", "msl", "z500", "t850", "t500")
FILES = {"train": (20, 20, 20, 20), "valid": (12,), "test": (12,)}
GRID = (16, 32)


def plausible(make_archive: Callable[..., WrittenArchive], **settings: Any) -> WrittenArchive:
    """An archive of 6-hourly states with the means and spreads of such variables; settings as of `write_archive`."""
    written = make_archive(**{"files": FILES, "channels": CHANNELS, "grid": GRID, **settings})
    generator = np.random.default_rng(1)
    sine = np.sin(np.deg2rad(np.linspace(90, -90, GRID[0])))[:, None]
    moments = Moments(len(CHANNELS))
    for split, files in written.fields.items():
        for number, fields in enumerate(files):
            noise = generator.standard_normal(fields.shape)
            profiles = [
                300 - 50 * sine**2 + 3 * noise[:, 0],
                5 * np.cos(3 * np.arcsin(sine)) + 4 * noise[:, 1],
                4 * noise[:, 2],
                101_000 + 800 * noise[:, 3],
                57_000 - 7_000 * sine**2 + 500 * noise[:, 4],
                288 - 30 * sine**2 + 3 * noise[:, 5],
                263 - 25 * sine**2 + 3 * noise[:, 6],
            ]
            values = np.stack(profiles, axis=1).astype(np.float32)
            with h5py.File(written.path(split, number), "r+") as file:
                file["fields"][...] = values
            if split == "train":
                moments.update(values)
    write_statistics(written.folder, moments.statistics)
    return written

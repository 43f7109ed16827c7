"""The climatology that a forecast must beat: what is usual at this place, season and hour.

Only training states are used: a climatology that has seen the evaluated states would be a leak.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
import torch

from weather.data.archive import Archive
from weather.runtime.ranks import Ranks
from weather.verification.harmonics import ALONE, fit_harmonics


class ClimatologyFields(Protocol):
    """A climatology opened on a device; to be closed."""

    def batches(self, order: Iterable[tuple[np.ndarray | None, int]]) -> Iterator[torch.Tensor]:
        """Usual fields [count, channel, lat, lon] float32, in physical units, each valid until the next is asked for.

        Args:
            order: times [count] datetime64[s] (None: unknown) and their count, batch by batch; asked for ahead.
        """
        ...

    def close(self) -> None: ...


class Climatology(Protocol):
    """What is usual, of the first channels of an archive."""

    def at(self, time: np.ndarray | None, count: int) -> np.ndarray:
        """Fields [count, channel, lat, lon] float32 that are usual at times [count] (None: unknown)."""
        ...

    def open(self, device: torch.device, *, batch_size: int, threads: int) -> ClimatologyFields: ...

    def describe(self) -> str:
        """What it is and of what, in words."""
        ...


def fit_climatology(archive: Archive, *, ranks: Ranks = ALONE, channels: int | None = None) -> Climatology:
    """The climatology of an archive's training split; every rank calls it and gets the whole.

    Args:
        channels: how many of the first channels; None: all.
    """
    return fit_harmonics(archive, ranks=ranks, channels=channels)

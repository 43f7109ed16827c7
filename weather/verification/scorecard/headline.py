"""What is shown where not everything can be: the channels a forecaster looks at first, and leads spread over all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: In this order; those of WeatherBench 2's headline scores (Rasp et al. 2024, section 5) come first.
HEADLINE = (
    *("z500", "t850", "t2m", "u10", "v10", "msl", "q700", "u850", "v850", "tp", "sp", "u250", "v250", "t500"),
    *("z850", "u500", "v500", "z1000", "q850"),
)
MOST_CHANNELS = 6
MOST_LEADS = 8


def headline_channels(channels: Sequence[str], most: int | None = MOST_CHANNELS) -> list[int]:
    """Indices of the channels to show, headline channels first and then the archive's order; all where `most` is None.

    Channels of the same variable at other levels wait until each variable is there once.
    """
    known = [channels.index(name) for name in HEADLINE if name in channels]
    order = known + [index for index in range(len(channels)) if index not in known]
    if most is None:
        return order
    if not known:  # names that nobody can rank: one of each variable first
        seen: set[str] = set()
        first = [i for i in order if not (_variable(channels[i]) in seen or seen.add(_variable(channels[i])))]  # type: ignore[func-returns-value]
        order = first + [index for index in order if index not in first]
    return order[:most]


def _variable(channel: str) -> str:
    """A channel's name without its level: z of z500, u of u_s2."""
    return channel.rstrip("0123456789") or channel


def spread_leads(count: int, most: int = MOST_LEADS) -> list[int]:
    """Indices of at most so many leads, spread evenly, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()

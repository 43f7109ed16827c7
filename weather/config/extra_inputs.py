"""Names of the model's extra inputs that are computed, and how many channels a list of extra inputs makes."""

from __future__ import annotations

from collections.abc import Sequence

#: Channels of each input that needs no file. A name that is not here is a field of the archive's static.h5.
COMPUTED_CHANNELS = {
    "cos_latitude": 1,
    "sin_latitude": 1,
    "longitude": 2,
    "time_of_day": 2,
    "day_of_year": 2,
    "insolation": 1,
}
#: Those that need time stamps.
TEMPORAL = ("time_of_day", "day_of_year", "insolation")


def extra_channels(names: Sequence[str]) -> int:
    """Channels that `data.extra_inputs` adds to the model's input; a static field is one."""
    return sum(COMPUTED_CHANNELS.get(name, 1) for name in names)

"""Scores of a verification that nobody made, whose numbers follow from a formula."""

from __future__ import annotations

from typing import Any

import numpy as np

from weather.verification.scorecard.example import Coast, Example
from weather.verification.scorecard.origin import Origin
from weather.verification.scores import Scores

SOURCES = ("model", "persistence", "climatology")
GROWTH = {"model": 1.0, "persistence": 2.0, "climatology": 0.0}  # of the RMSE with lead, in units a day
SPREAD = 0.1  # of errors over initial times, as a share

ORIGIN = Origin(
    run="made <b>up</b>",
    checkpoint="checkpoint_epoch_3",
    step=300,
    archive="/data/archive",
    split="test",
    model_lead_hours=6.0,
    command="python -m weather.evaluate --run runs/x",
    commit="0123456789ab",
)


def make_scores(
    channels: tuple[str, ...] = ("q850", "t850", "z500"),
    *,
    leads: tuple[float, ...] = (6.0, 24.0, 72.0),
    times: int = 30,
    regions: tuple[str, ...] = ("global", "tropics"),
    blown_up: int = 0,
    runs: tuple[str, ...] = (),
    **changes: Any,
) -> Scores:
    """RMSE is 1 + growth * days, 5 for climatology, times (1 + number of the channel).

    Args:
        blown_up: forecasts at the longest lead that are not finite.
        runs: others, the first with an RMSE 10 % above the model's on every day, the second 20 %, and so on.
    """
    shape = (len(SOURCES), len(regions), times, len(leads), len(channels))
    noise = 1 + SPREAD * np.random.default_rng(0).standard_normal(shape)
    days = np.array(leads) / 24
    grown = np.stack([np.full(len(days), 5.0) if s == "climatology" else 1 + GROWTH[s] * days for s in SOURCES])
    rmse = grown[:, None, None, :, None] * (1 + np.arange(len(channels))) * np.ones(shape)
    squared = rmse**2 * noise
    correlation = np.clip(1 - 0.2 * rmse * noise, -1, 1)
    correlation[2] = 0.0
    k = np.arange(1, 17)
    power = np.broadcast_to(1.0 / k**3, (len(SOURCES) + 1, len(leads), len(channels), len(k))).copy()
    blown = np.zeros((len(SOURCES), len(leads)), int)
    if blown_up:
        squared[0, :, :blown_up, -1] = np.inf
        correlation[0, :, :blown_up, -1] = np.nan
        power[0, -1] = np.nan
        blown[0, -1] = blown_up
    values: dict[str, Any] = {
        "channels": channels,
        "units": tuple("m2 s-2" if name.startswith("z") else "K" for name in channels),
        "lead_hours": leads,
        "sources": SOURCES,
        "regions": regions,
        "initial_times": np.datetime64("2020-01-01T00", "s") + np.arange(times) * np.timedelta64(6, "h"),
        "squared_error": squared,
        "absolute_error": np.sqrt(squared) * 0.8,
        "error": np.sqrt(squared) * 0.1,
        "correlation": correlation,
        "activity": np.ones(shape) * 2.0,
        "true_activity": np.ones(shape[1:]) * 2.5,
        "wavenumbers": k,
        "power": power,
        "blown_up": blown,
        "climatology": "mean of the training states",
        "replicates": 200,
    }
    for number, run in enumerate(runs, start=1):
        values["sources"] = (*values["sources"], run)
        for name in ("squared_error", "absolute_error", "error", "correlation", "activity", "blown_up"):
            factor = {"squared_error": (1 + 0.1 * number) ** 2}.get(name, 1)
            values[name] = np.concatenate([values[name], factor * values[name][:1]])
        values["power"] = np.concatenate([values["power"][:-1], values["power"][:1] * number, values["power"][-1:]])
    return Scores(**{**values, **changes})


def make_example(channels: tuple[str, ...] = ("t850", "z500"), *, bad: bool = False) -> Example:
    """Two leads of smooth fields; a forecast with values that are not finite where it is `bad`."""
    latitude, longitude = np.linspace(84, -84, 15), np.arange(30) * 12.0
    truth = np.cos(np.deg2rad(longitude)) * np.sin(np.deg2rad(latitude))[:, None] * np.ones((2, len(channels), 1, 1))
    forecast = truth + 0.1
    if bad:
        forecast[1] = np.nan
    start = np.datetime64("2020-01-01T00", "s")
    return Example(
        initial_time=start,
        valid_times=start + np.array([6, 24], "timedelta64[h]"),
        lead_hours=(6.0, 24.0),
        channels=channels,
        units=("K",) * len(channels),
        forecast=forecast,
        truth=truth,
        latitude=latitude,
        longitude=longitude,
        coast=Coast((truth[0, 0] > 0.5).astype(float), latitude, longitude),
    )

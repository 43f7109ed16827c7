"""The tables of a scorecard's page: how far the model is of use, the scores of the headline channels, definitions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from weather.presentation.numbers import MINUS, finite_or_none, number
from weather.presentation.parts import Column, Part, Sheet
from weather.verification.leads import describe_lead
from weather.verification.scorecard.estimates import Estimates
from weather.verification.scorecard.headline import headline_channels
from weather.verification.scorecard.lead_curves import USEFUL
from weather.verification.scorecard.looks import titled
from weather.verification.scores import Interval

MOST_CHANNELS = 12
NO_BREAK = "\N{NO-BREAK SPACE}"

DEFINITIONS = (
    ("Mean over the globe", "weighed by cell area, from cell bounds in latitude",
     "WeatherBench 2, metrics.get_lat_weights"),
    ("RMSE", "root of the mean over initial times and area of the squared error",
     "root of WeatherBench 2, metrics.MSE"),
    ("MAE, bias", "mean absolute error; mean of forecast minus truth", "WeatherBench 2, metrics.MAE and Bias"),
    ("ACC", "mean over initial times of the uncentred correlation over area of forecast and true departure from "
     "climatology; climatology itself has 0", "WeatherBench 2, metrics.ACC"),
    ("Activity", "root of the mean over initial times of the variance over area of the departure from climatology",
     "standard deviation of the anomaly: Ben Bouallegue et al. 2024, arXiv 2307.10128"),
    ("Skill", "1 - RMSE of the model / RMSE of the baseline: 1 is perfect, 0 is as the baseline", "Wilks 2011, ch. 8"),
    ("Interval", "percentiles of a circular block bootstrap over initial times; differences to a baseline are paired",
     "Politis & Romano 1992; block length: Politis & White 2004, Patton et al. 2009"),
    ("Spectrum", "squared Fourier coefficients along latitude circles, area-weighted mean over latitudes, mean over "
     "initial times; summed over wavenumbers, the zonal variance", "scipy.signal.periodogram, scaling 'spectrum'"),
    ("Persistence", "the last input state stays as it is", "WeatherBench 2, evaluation"),
)  # fmt: skip


def reach_part(found: Estimates) -> Part:
    """Up to which lead the model is of use, by headline channel."""
    scores = found.scores
    acc = found.metrics[scores.sources[0], "acc"].estimate[0]
    rows = []
    for c in headline_channels(scores.channels, MOST_CHANNELS):
        beaten = [_reach(found, found.skill[b][0, :, c] > 0) for b in found.baselines]
        rows.append((scores.channels[c], *beaten, _reach(found, acc[:, c] >= USEFUL)))
    columns = (
        Column("channel", "channel"),
        *(Column(f"beats_{b}_until", f"beats {b} until") for b in found.baselines),
        Column("acc_useful_until", f"ACC at least {USEFUL} until"),
    )
    leads = ", ".join(describe_lead(lead) for lead in scores.lead_hours)
    caption = f"The longest lead before it fails for the first time; a dash: it does at the first. Leads: {leads}."
    return Part("reach", "How far the model is of use", sheets=(Sheet("reach", caption, columns, tuple(rows)),))


def _reach(found: Estimates, holds: np.ndarray) -> str:
    count = len(holds) if holds.all() else int(np.argmin(holds))
    return describe_lead(found.scores.lead_hours[count - 1]) if count else "\N{EN DASH}"


def score_part(found: Estimates) -> Part:
    """Scores of the headline channels over the globe."""
    scores = found.scores
    model = scores.sources[0]
    true_activity = scores.activity_of(None)
    rows = []
    for c in headline_channels(scores.channels, MOST_CHANNELS):
        for at, lead in enumerate(scores.lead_hours):
            index = (0, at, c)
            rmse, bias, acc, activity = (found.metrics[model, name] for name in ("rmse", "bias", "acc", "activity"))
            baselines = [finite_or_none(found.metrics[b, "rmse"].estimate[index]) for b in found.baselines]
            skills = [_percent(found, b, index) for b in found.baselines]
            relative = activity.estimate[index] / true_activity[index] if true_activity[index] > 0 else math.nan
            rows.append(
                (titled(scores.channels[c], scores.units[c]), describe_lead(lead), finite_or_none(rmse.estimate[index]),
                 _bounds(rmse, index), *baselines, *skills, finite_or_none(acc.estimate[index]),
                 finite_or_none(bias.estimate[index]), finite_or_none(relative))
            )  # fmt: skip
    columns = (
        Column("channel", "channel"),
        Column("lead", "lead"),
        Column("rmse", "RMSE", number),
        Column("interval", f"{found.coverage:.0%} interval"),
        *(Column(f"rmse_{b}", b, number) for b in found.baselines),
        *(Column(f"skill_{b}", f"vs {b}") for b in found.baselines),
        Column("acc", "ACC", lambda value: f"{value:.3f}".replace("-", MINUS)),
        Column("bias", "bias", lambda value: number(value, 3)),
        Column("activity_over_truth", "activity / truth", lambda value: f"{value:.2f}"),
    )
    caption = f"Headline channels over the globe, {scores.samples} initial times. Empty: a forecast blew up."
    if found.has_intervals and found.baselines:
        caption += f" *: the {found.coverage:.0%} interval of the difference to the baseline excludes 0."
    return Part("numbers", "Scores", sheets=(Sheet("scores", caption, columns, tuple(rows)),))


def _bounds(interval: Interval, index: tuple[int, ...]) -> str | None:
    low, high = float(interval.low[index]), float(interval.high[index])
    if not (math.isfinite(low) and math.isfinite(high)):
        return None
    return f"{number(low)} to {number(high)}".replace(" ", NO_BREAK)


def _percent(found: Estimates, baseline: str, index: tuple[int, ...]) -> str | None:
    skill = found.skill[baseline][index]
    if not np.isfinite(skill):
        return None
    star = "*" if found.differs(baseline)[index] else ""
    return f"{100 * skill:+.1f}{NO_BREAK}%{star}".replace("-", MINUS)


def definition_part(found: Estimates) -> Part:
    """What each number is, and who defined it so."""
    rows: tuple[Any, ...] = (*DEFINITIONS, ("Climatology", found.scores.climatology, "of this archive"))
    columns = (Column("what", "what"), Column("definition", "definition"), Column("source", "source"))
    caption = "WeatherBench 2: Rasp et al. 2024, J. Adv. Model. Earth Syst. 16, e2023MS004019, and its code."
    return Part("definitions", "Definitions", sheets=(Sheet("definitions", caption, columns, rows),))


def provenance_part(origin: dict[str, Any], warnings: tuple[str, ...]) -> Part:
    """Of what the scores are."""
    blown = ", ".join(f"{n} at {describe_lead(float(lead))}" for lead, n in origin["blown_up"].items() if n) or "none"
    shown = {**origin, "blown_up": blown}
    rows = tuple(
        (key.replace("_", " "), None if value is None else str(value))
        for key, value in shown.items()
        if key not in ("units", "climatology")
    )
    columns = (Column("what", "what"), Column("value", "value"))
    sheet = Sheet("provenance", "What was verified, on what, and by which code.", columns, rows)
    return Part("provenance", "Provenance", sheets=(sheet,), remarks=warnings)

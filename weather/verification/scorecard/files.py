"""The numbers of a verification as files: JSON of the global scores, a long CSV table, and JSON of everything.

``scores_test.json`` holds ``{channel: {lead hours: {source: {rmse, mae, bias, acc}}}}`` of the whole globe,
``scores_test.origin.json`` what that is of, ``scores_test.csv`` a row for each number with its interval, and
``scores_test.full.json`` numbers, intervals, spectra and origin together.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from weather.presentation.writing import csv_text, plain, write_json, write_whole
from weather.verification.scorecard.estimates import Estimates
from weather.verification.scorecard.origin import Origin
from weather.verification.scores import Interval, Scores

COLUMNS = ("channel", "unit", "lead_hours", "region", "source", "metric", "value", "low", "high", "samples")
TRUTH = "truth"
NO_BOUNDS = (None, None)


def origin_file(scores: Path) -> Path:
    """Where it stands what scores were made from: ``scores_test.json`` has ``scores_test.origin.json``."""
    return scores.with_suffix(".origin.json")


def csv_file(scores: Path) -> Path:
    """Where the table lies beside the scores."""
    return scores.with_suffix(".csv")


def full_file(scores: Path) -> Path:
    """Where all numbers lie beside the scores."""
    return scores.with_suffix(".full.json")


def page_file(scores: Path) -> Path:
    """Where the page lies beside the scores."""
    return scores.with_suffix(".html")


def write_scores(scores: Scores, origin: Origin, path: Path) -> None:
    """Write the scores over the globe, and what they are of.

    Raises:
        OSError: they cannot be written.
    """
    origin_file(path).unlink(missing_ok=True)  # an interruption leaves scores without origin, not with another's
    write_json(path, scores.as_dict())
    write_json(origin_file(path), origin.record(scores))


def write_table(found: Estimates, path: Path) -> None:
    """Write a CSV row for each number, as `COLUMNS` says; what is not finite is empty.

    Units are those of the value: 1 for ACC and skill. The truth has an activity; the model has a
    ``skill_OTHER`` and, with their intervals, ``rmse_minus_OTHER``, ``mae_minus_OTHER`` and ``acc_minus_OTHER`` of each
    baseline and each other run.

    Raises:
        OSError: it cannot be written.
    """
    write_whole(path, csv_text(COLUMNS, table_rows(found)))


def write_everything(found: Estimates, origin: Origin, path: Path) -> None:
    """Write JSON of origin, ``scores`` {region: {channel: {lead hours: {source: {metric: [value, low, high]}}}}}, and
    ``spectra`` {channel: {lead hours: {source or truth: [power of each wavenumber]}}}.

    Raises:
        OSError: it cannot be written.
    """
    scores = found.scores
    nested: dict[str, Any] = {}
    for channel, lead, region, source, metric, _, value in _numbers(found):
        place = nested.setdefault(region, {}).setdefault(channel, {}).setdefault(lead, {})
        place.setdefault(source, {})[metric] = value
    record = {
        "origin": origin.record(scores),
        "interval_coverage": found.coverage,
        "scores": nested,
        "wavenumbers": scores.wavenumbers,
        "spectra": _spectra(scores),
    }
    write_whole(path, json.dumps(plain(record), allow_nan=False))


def table_rows(
    found: Estimates,
    *,
    regions: Collection[str] | None = None,
    channels: Collection[str] | None = None,
    metrics: Collection[str] | None = None,
) -> Iterator[tuple[Any, ...]]:
    """Rows as `COLUMNS` says, all or those of some regions, channels and metrics."""
    for channel, lead, region, source, metric, unit, value in _numbers(found):
        kept = ((region, regions), (channel, channels), (metric, metrics))
        if all(wanted is None or each in wanted for each, wanted in kept):
            yield channel, unit, lead, region, source, metric, *plain(value), found.scores.samples


def _numbers(found: Estimates) -> Iterator[tuple[str, str, str, str, str, str, tuple[float | None, ...]]]:
    """(channel, lead hours, region, source, metric, unit, (value, low, high)) of every number there is."""
    scores = found.scores
    true_activity = scores.activity_of(None)
    for c, (channel, unit) in enumerate(zip(scores.channels, scores.units, strict=True)):
        for at, lead in enumerate(scores.lead_hours):
            for r, region in enumerate(scores.regions):
                place, index = (channel, f"{lead:g}", region), (r, at, c)
                for (source, metric), interval in found.metrics.items():
                    yield *place, source, metric, "1" if metric == "acc" else unit, _at(interval, index)
                yield *place, TRUTH, "activity", unit, (float(true_activity[index]), *NO_BOUNDS)
                for (other, metric), between in found.differences.items():
                    of_metric = "1" if metric == "acc" else unit
                    yield *place, scores.sources[0], f"{metric}_minus_{other}", of_metric, _at(between, index)
                for other, skill in found.skill.items():
                    yield *place, scores.sources[0], f"skill_{other}", "1", (float(skill[index]), *NO_BOUNDS)


def _at(interval: Interval, index: tuple[int, ...]) -> tuple[float | None, ...]:
    return tuple(float(each[index]) for each in (interval.estimate, interval.low, interval.high))


def _spectra(scores: Scores) -> dict[str, Any]:
    if not scores.wavenumbers.size:
        return {}
    return {
        channel: {
            f"{lead:g}": {source: scores.power[s, at, c] for s, source in enumerate((*scores.sources, TRUTH))}
            for at, lead in enumerate(scores.lead_hours)
        }
        for c, channel in enumerate(scores.channels)
    }

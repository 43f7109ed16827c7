"""A function as a model that verification takes."""

from __future__ import annotations

from weather.data.archive import Archive
from weather.verification.leads import ModelStep
from weather.verification.rollout import Forecast, NamedForecast
from weather.verification.scores import MODEL


def named(forecast: Forecast, archive: Archive, step: ModelStep, name: str = MODEL) -> NamedForecast:
    """Trained with the statistics of the archive."""
    return NamedForecast(name, forecast, archive.statistics, step.sequence_length, step.dt)

"""The `data` section of a config."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from weather.config.values import Count, Positive, Real, Section, Whole


class DataSection(Section):
    """Which samples of which archive, and how they are read."""

    data_dir: str = "data/synthetic"
    """Folder with train/, valid/, test/ and stats/."""
    dt: Positive = 1
    """Lead of the forecast in time steps of the archive."""
    random_leads: list[Positive] | None = None
    """Leads in time steps, `dt` among them: each training sample is forecast over one of them, drawn evenly, and the
    model is told which (Nguyen et al. 2023, Stormer). Each is validated, `dt` on all samples. null: over `dt` alone."""
    data_subset: Annotated[Real, Field(gt=0.0, le=1.0)] = 1.0
    """Share of the training samples, spread evenly over each year; smaller shares are subsets of larger ones."""
    temporal_coverage: str | None = None
    """Train on the last `5y`, `6m` or `90d` only; null: on all."""
    channels: Literal["all"] | list[str | Whole] = "all"
    """Channels by name or index, in the order given; all: as in the archive."""
    extra_inputs: list[str] = []
    """Fields given to the model beside the channels: cos_latitude, sin_latitude, longitude (its sine and cosine),
    time_of_day (local solar time), day_of_year, insolation (at the top of the atmosphere), or names in the archive's
    static.h5, such as land_sea_mask and orography."""
    coarsen: Positive = 1
    """Whole factor by which latitudes and longitudes are coarsened while states are read; 1: as in the archive."""
    coarsen_by: Literal["area_mean", "bilinear", "stride"] = "area_mean"
    """How: the mean over each coarse cell's area, the interpolated value at its middle, or a point near that."""
    num_workers: Count = 2
    """Reader threads a rank; 0 reads in the main thread."""

    @field_validator("temporal_coverage")
    @classmethod
    def _span(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"(?=.*[1-9])\d+(\.\d+)?[ymd]", value):
            raise ValueError("a span reads like 5y (years), 6m (months) or 90d (days)")
        return value

    @field_validator("random_leads")
    @classmethod
    def _rising(cls, value: list[int] | None) -> list[int] | None:
        return None if value is None else sorted(value)

    @field_validator("channels")
    @classmethod
    def _some_channels(cls, value: Any) -> Any:
        if value != "all" and (not value or len(set(map(str, value))) != len(value)):
            raise ValueError("the list is empty or names a channel twice")
        return value

    @field_validator("extra_inputs")
    @classmethod
    def _each_once(cls, value: list[str]) -> list[str]:
        if len(set(value)) != len(value):
            raise ValueError("the list names a field twice")
        return value

    @model_validator(mode="after")
    def _known_leads(self) -> DataSection:
        leads = self.random_leads
        if leads is not None and (self.dt not in leads or len(set(leads)) != len(leads)):
            raise ValueError(f"random_leads {leads} names dt {self.dt}, which is validated, and no lead twice")
        return self

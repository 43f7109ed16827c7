"""What a value of a config may be: whole and real numbers as YAML writes them, and the base of every section."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _no_boolean(value: Any) -> Any:
    """Refuse `true` where a number is meant: Python would take it for 1."""
    if isinstance(value, bool):
        raise ValueError("a number is needed, not a truth value")
    return value


def _whole(value: Any) -> Any:
    """Take 1e4 and "1e4" for the whole number that they are."""
    _no_boolean(value)
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return value
    return int(value) if isinstance(value, float) and math.isfinite(value) and value.is_integer() else value


Real = Annotated[float, BeforeValidator(_no_boolean), Field(allow_inf_nan=False)]
Whole = Annotated[int, BeforeValidator(_whole)]
Positive = Annotated[Whole, Field(ge=1)]
Count = Annotated[Whole, Field(ge=0)]
Share = Annotated[Real, Field(ge=0.0, lt=1.0)]
Auto = Literal["auto"]


class Section(BaseModel):
    """One section of a config: typed keys and no others, each documented below it."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, validate_default=True)

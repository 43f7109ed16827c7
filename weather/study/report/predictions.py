"""Predictions that were registered before their runs, and how they held."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from weather.study.report.material import Material
from weather.study.report.numbers import number
from weather.study.report.parts import Column, Part, Sheet

INTERVAL = ("estimate", "low", "high")
LONGEST = 8  # a list with more entries is data, not a statement; the file has it


def prediction_part(material: Material) -> Part:
    """What was registered and scored, or the command that does."""
    title, anchor = "Registered predictions", "predictions"
    if not material.predictions:
        command = f"python -m weather.scaling predict {material.study} --flops C --register"
        return Part(
            anchor, title, missing="No prediction is registered; this stores one before its run:", command=command
        )
    rows = []
    for name, record in material.predictions.items():
        rows += [(name, "predicted", key, value) for key, value in statements(record)]
        rows += [(name, "scored", key, value) for key, value in statements(material.scores.get(name, {}))]
    waiting = [name for name in material.predictions if name not in material.scores]
    command = f"python -m weather.scaling score {material.study}"
    remarks = (f"Not scored yet: {', '.join(waiting)}; once the run has finished: {command}",) if waiting else ()
    columns = (
        Column("id", "prediction"),
        Column("stage", ""),
        Column("quantity", "quantity"),
        Column("value", "value"),
    )
    caption = "As they were stored; an interval is shown as estimate (low to high)."
    return Part(anchor, title, sheets=(Sheet("predictions", caption, columns, tuple(rows)),), remarks=remarks)


def statements(record: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(quantity, value) of a record, nested ones with their path."""
    for key, value in record.items():
        path = f"{prefix}{key.replace('_', ' ')}"
        if isinstance(value, dict) and all(isinstance(value.get(each), (int, float)) for each in INTERVAL):
            level = f", {value['level']:.0%}" if isinstance(value.get("level"), float) else ""
            estimate, low, high = (number(float(value[each])) for each in INTERVAL)
            yield path, f"{estimate} ({low} to {high}{level})"
        elif isinstance(value, dict):
            yield from statements(value, f"{path}: ")
        elif isinstance(value, list):
            if value and len(value) <= LONGEST:
                yield path, "; ".join(_text(each) for each in value)
        elif value is not None and value != "":
            yield path, _text(value)


def _text(value: Any) -> str:
    return number(float(value)) if isinstance(value, float) else str(value)

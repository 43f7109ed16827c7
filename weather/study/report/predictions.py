"""Predictions that were registered before their runs, and how they held."""

from __future__ import annotations

from typing import Any

from weather.errors import DataError
from weather.presentation.numbers import between, count, power, share, significant
from weather.presentation.parts import Column, Part, Sheet
from weather.study.fits.intervals import Interval
from weather.study.report.material import Material
from weather.study.results.prediction import predictions_folder
from weather.study.results.registration import read_registered

TITLE, ANCHOR = "Registered predictions", "predictions"
HASH_DIGITS = 7  # that are shown: enough to know a file by
COLUMNS = (
    Column("time", "registered", lambda time: time[:10]),
    Column("id", "prediction"),
    Column("blind", "before the run"),
    Column("flops", "C [FLOPs]", power),
    Column("parameters", "N", count),
    Column("samples", "D", count),
    Column("foretold_loss", "loss foretold", significant),
    Column("interval", "interval"),
    Column("run", "judged by"),
    Column("seen_loss", "loss seen", significant),
    Column("error", "error", share),
    Column("inside", "inside"),
    Column("hash", "hash", lambda whole: whole[:HASH_DIGITS]),
)


def prediction_part(material: Material) -> Part:
    """What was registered and scored, or the command that does; an edited prediction is not shown as one."""
    if not material.predictions:
        command = material.command("next", "--flops", "C")
        return Part(
            ANCHOR, TITLE, missing="No prediction is registered; this stores one before its run:", command=command
        )
    rows, remarks, waiting = [], [], []
    for name in material.predictions:
        try:
            record = read_registered(predictions_folder(material.folder.path) / f"{name}.json")
            rows.append(_row(record, material.scores.get(name, {})))
        except DataError as error:
            remarks.append(str(error))
        except (KeyError, TypeError) as error:
            remarks.append(f"{name} is no prediction ({type(error).__name__}: {error})")
        else:
            waiting += [] if name in material.scores else [name]
    if waiting:
        command = material.command("score")
        remarks.append(f"Not scored yet: {', '.join(waiting)}. Once the run has finished: {command}")
    caption = (
        "As they were stored, with the day and the first digits of their hash; the file below has both in full. "
        "Inside: the loss seen lies in the interval."
    )
    sheets = (Sheet("predictions", caption, COLUMNS, tuple(rows)),) if rows else ()
    return Part(ANCHOR, TITLE, sheets=sheets, remarks=tuple(remarks))


def _row(record: dict[str, Any], score: dict[str, Any]) -> tuple[Any, ...]:
    loss = Interval(**record["loss"])
    return (
        record["time"],
        record["id"],
        "yes" if record["blind"] else "no",
        record["flops"],
        record["parameters"]["estimate"],
        record["samples"]["estimate"],
        loss.estimate,
        f"{between(loss, 4)}, {loss.level:.0%}",
        score.get("run"),
        score.get("loss"),
        score.get("error"),
        {True: "yes", False: "no"}.get(score.get("inside")),  # type: ignore[arg-type]
        record["hash"],
    )

"""Every run with its speed, memory, storage and time; those that failed, and those that cannot be."""

from __future__ import annotations

from weather.presentation.numbers import count, duration, number, power, share, significant, size
from weather.presentation.parts import Column, Part, Sheet
from weather.study.report.material import Material, Row

#: (column of runs.csv, title, text of its numbers)
COLUMNS = (
    ("N", "N", count),
    ("D", "D", count),
    ("C", "C [FLOPs]", power),
    ("epochs", "epochs", lambda value: number(value, 3)),
    ("loss", "loss", significant),
    ("samples_per_second", "samples / s", lambda value: number(value, 3)),
    ("tflops", "TFLOP/s", lambda value: number(value, 3)),
    ("mfu", "MFU", share),
    ("data_wait", "waits for data", share),
    ("memory_gb", "memory [GB]", lambda value: number(value, 3)),
    ("storage_bytes", "storage", size),
    ("own_seconds", "own time", duration),
    ("world_size", "ranks", count),
)


def run_part(material: Material) -> Part:
    """The table of runs."""
    title, anchor = "Runs", "runs"
    if not material.rows:
        command = material.command("collect")
        return Part(anchor, title, missing=f"There is no {material.table.name} yet; this makes it:", command=command)
    columns = (
        Column("name", "run"),
        Column("status", "state"),
        *(Column(name, heading, text) for name, heading, text in COLUMNS),
    )
    rows = tuple(
        (row.name, row.status, *(row.number(name) for name, _, _ in COLUMNS))
        for row in material.rows
        if row.status != "impossible"
    )
    caption = (
        "C, D and epochs count from the first step of the trunk, time the steps that the run made itself. Speed is "
        "the median over its logged steps; MFU is empty where the device's peak is not known."
    )
    return Part(anchor, title, sheets=(Sheet("runs", caption, columns, rows),))


def failure_part(material: Material) -> Part:
    """What did not finish and cannot, with reasons."""
    title, anchor = "Failures", "failures"
    rows = tuple(
        (row.name, row.status, row.text("reason"), row.number("steps"), str(material.folder.log_file(row.name)))
        for row in material.rows
        if _wrong(row)
    )
    impossible = tuple(
        (each.name, each.reason, each.nearest or None, _labels(each.labels)) for each in material.plan.impossible
    )
    sheets = []
    if rows:
        columns: tuple[Column, ...] = (
            Column("name", "run"),
            Column("status", "state"),
            Column("reason", "reason"),
            Column("steps", "steps made", count),
            Column("log", "log"),
        )
        again = material.command("start", "--retry")
        sheets.append(Sheet("failures", f"Runs that ended without a result. To try them again: {again}", columns, rows))
    if impossible:
        columns = (
            Column("name", "run"),
            Column("reason", "reason"),
            Column("nearest", "possible instead"),
            Column("labels", "asked for"),
        )
        sheets.append(Sheet("impossible", "Runs that were asked for and cannot be.", columns, impossible))
    text = () if rows else ("No run has failed.",) if material.rows else ()
    missing = "" if sheets or text else "No run has been collected, and none is impossible."
    return Part(anchor, title, text, sheets=tuple(sheets), missing=missing)


def _wrong(row: Row) -> bool:
    return row.status not in ("running", "ready", "waiting", "queued", "impossible") and (
        bool(row.text("reason")) or row.status == "failed"
    )


def _labels(labels: dict[str, object]) -> str:
    return ", ".join(
        f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in labels.items()
    )

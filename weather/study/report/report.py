"""From a study's folder to its report: the page, and each figure and table as a file beside it."""

from __future__ import annotations

import dataclasses
import datetime
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weather.errors import DataError
from weather.presentation.numbers import number, power
from weather.presentation.page import Heading, render
from weather.presentation.parts import Part
from weather.presentation.style import png
from weather.presentation.writing import write_bytes
from weather.study.folder import StudyFolder
from weather.study.report import forms, isoflops, loss_law, optima, residuals
from weather.study.report.analysis import Analysis, analyse
from weather.study.report.cost import cost_part, generalisation_part, node_hours, savings_part
from weather.study.report.efficiency import efficiency_part
from weather.study.report.factors import factor_parts
from weather.study.report.material import Material, read_material
from weather.study.report.predictions import prediction_part
from weather.study.report.provenance import provenance_part
from weather.study.report.run_tables import failure_part, run_part
from weather.study.report.skill import skill_part
from weather.study.report.summary import summarise
from weather.study.report.training_curves import curve_part
from weather.study.results.table import FINISHED, read_table

PAGE_FILE = "report.html"
TEMPLATE = "report.html.jinja"
LAW_PARTS = (
    (isoflops.ANCHOR, isoflops.TITLE, isoflops.isoflop_part),
    (loss_law.ANCHOR, loss_law.TITLE, loss_law.law_part),
    (optima.ANCHOR, optima.TITLE, optima.optima_part),
    (residuals.ANCHOR, residuals.TITLE, residuals.residual_part),
    (forms.ANCHOR, forms.TITLE, forms.form_part),
)
STEPS = 4  # read, fitted, drawn, written


@dataclass(frozen=True)
class Report:
    """What was written.

    Attributes:
        page: the HTML file.
        files: PNG and CSV files beside it.
        missing: titles of the parts that have nothing to show yet.
    """

    page: Path
    files: tuple[Path, ...]
    missing: tuple[str, ...]


def write_report(
    folder: StudyFolder,
    out: Path,
    *,
    command: str,
    flops: float | None = None,
    most_epochs: float = 1.0,
    level: float = 0.9,
    draws: int = 400,
    seed: int = 0,
    done: Callable[[float, float], None] = lambda _, of: None,
) -> Report:
    """Write the report of a study, as far as its table has come.

    Args:
        out: folder; files of an earlier report are replaced.
        command: that asked for it, for the provenance.
        most_epochs: as in `read_table`.
        flops, level, draws, seed: of the fits, as in `analyse`.
        done: told how many of how many steps are done, of which the fits are shares.

    Raises:
        DataError: there is no plan, a file of the study is damaged, or `out` cannot be written.
        ConfigError: matplotlib or jinja2 is not installed.
    """
    made = datetime.datetime.now(datetime.timezone.utc)
    material = read_material(folder)
    done(1, STEPS)
    analysis, refused = None, ""
    if material.plan.kind == "budgets":
        options = {"flops": flops, "level": level, "draws": draws, "seed": seed}
        analysis, refused = _analysis(material, most_epochs, options, lambda fits, of: done(1 + fits / of, STEPS))
    done(2, STEPS)
    parts = _parts(material, analysis, refused)
    parts.append(provenance_part(material, command, made))
    done(3, STEPS)
    heading = Heading(
        f"Scaling study: {material.plan.name}",
        f"{made:%d %B %Y, %H:%M} UTC, {material.folder.path}",
        tuple(_headline(material, analysis)),
    )
    summary = summarise(material, analysis, refused)
    page = render("weather.study.report", TEMPLATE, heading, parts, summary=summary)
    report = _written(out, page, parts)
    done(4, STEPS)
    return report


def _analysis(
    material: Material, most_epochs: float, options: dict[str, Any], done: Callable[[int, int], None]
) -> tuple[Analysis | None, str]:
    if not material.rows:
        return None, f"There is no {material.table.name} yet."
    try:
        return analyse(read_table(material.table, most_epochs=most_epochs), **options, done=done), ""
    except DataError as error:
        return None, str(error)


def _parts(material: Material, analysis: Analysis | None, refused: str) -> list[Part]:
    parts = factor_parts(material)
    if material.plan.kind == "budgets":
        # What a fit lacks is runs: those that are planned, and after them more sizes or budgets.
        ended = len(material.plan.runs) == sum(row.status in FINISHED for row in material.rows)
        more = "python -m weather.scaling plan STUDY.yaml" if ended else material.command("start")
        for anchor, title, make in LAW_PARTS:
            part = make(analysis) if analysis else Part(anchor, title, missing=f"Nothing is fitted. {refused}")
            parts.append(dataclasses.replace(part, command=more) if part.missing else part)
        parts.append(prediction_part(material))
    parts += [make(material) for make in (cost_part, generalisation_part, curve_part)]
    parts += [skill_part(material, analysis.table if analysis else None), efficiency_part(material)]
    if material.plan.kind == "budgets":
        parts.append(savings_part(material))
    return [*parts, run_part(material), failure_part(material)]


def _headline(material: Material, analysis: Analysis | None) -> list[tuple[str, str]]:
    states = Counter(row.status for row in material.rows)
    said = [(f"{states['finished']} of {len(material.plan.runs)}", "runs finished")]
    if states["failed"]:
        said.append((str(states["failed"]), "failed"))
    spent = sum(row.number("own_C") or 0.0 for row in material.rows)
    hours = [hours for row in material.rows if (hours := node_hours(row)) is not None]
    if spent:
        said.append((power(spent), "FLOPs spent"))
    if hours:
        said.append((number(sum(hours), 3), "node-hours"))
    best = [(loss, row.name) for row in material.finished() if (loss := row.positive("loss")) is not None]
    if best:
        said.append((number(min(best)[0]), f"least loss, {min(best)[1]}"))
    if analysis is not None and analysis.law is not None:
        said.append((number(analysis.law.parameter_exponent, 2), "a, of N_opt ∝ Cᵃ"))
    return said


def _written(out: Path, page: str, parts: list[Part]) -> Report:
    contents: dict[str, bytes] = {}
    for part in parts:
        for drawing in part.drawings:
            contents[f"{drawing.name}.png"] = png(drawing.figure)
            contents[f"{drawing.name}.csv"] = drawing.csv().encode()
        contents |= {f"{sheet.name}.csv": sheet.csv().encode() for sheet in part.sheets}
    try:
        # Last, so that a page has all of its files.
        for name, content in {**contents, PAGE_FILE: page.encode()}.items():
            write_bytes(out / name, content)
    except OSError as error:
        raise DataError(f"the report cannot be written ({error})", where=out) from error
    return Report(out / PAGE_FILE, tuple(out / name for name in contents), tuple(p.title for p in parts if p.missing))

"""Shows an examination: for people on stdout, on a terminal or in a log file, and for programs as JSON."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from weather.diagnosis.findings import Finding, Section, Severity, worst
from weather.errors import EXIT_COMPLETE, EXIT_FAILED, LaunchError
from weather.presentation import writing

EXIT_WARNINGS = 3
EXIT_STATUS = {Severity.NOTE: EXIT_COMPLETE, Severity.WARNING: EXIT_WARNINGS, Severity.ERROR: EXIT_FAILED}
VERSION = 1  # of the JSON
WIDTH_OF_A_LOG = 180
MOST_ROWS = 40
MOST_ALIKE = 6  # findings of one check: a thousand nodes may have the same
STYLES = {Severity.NOTE: "cyan", Severity.WARNING: "yellow", Severity.ERROR: "bold red"}

Parts = Mapping[str, Sequence[Section]]


def exit_status(parts: Parts) -> int:
    """Of the worst finding: 0, 3 for warnings, 1 for errors."""
    severity = worst(section for sections in parts.values() for section in sections)
    return EXIT_STATUS[Severity.NOTE if severity is None else severity]


def print_part(name: str, sections: Sequence[Section]) -> None:
    """Print one part."""
    console = _console()
    console.print(f"\n==== {name} ====", style="bold")
    for section in sections:
        _print_section(console, section)
    sys.stdout.flush()


def print_result(parts: Parts) -> None:
    """Print what was found in all parts."""
    console = _console()
    console.print("\n==== result ====", style="bold")
    findings = [finding for sections in parts.values() for section in sections for finding in section.findings]
    for severity in sorted(Severity, reverse=True):
        found = [finding for finding in findings if finding.severity == severity]
        checks = ", ".join(dict.fromkeys(finding.check for finding in found))
        line = f"{severity.name.lower() + 's':9}{len(found):4}{'  ' + checks if found else ''}"
        console.print(line, style=STYLES[severity] if found else None, soft_wrap=True)
    sys.stdout.flush()


def _console() -> Any:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else WIDTH_OF_A_LOG, highlight=False, markup=False, emoji=False)


def _print_section(console: Any, section: Section) -> None:
    from rich import box
    from rich.table import Table

    console.print(f"\n{section.title}", style="bold")
    width = max((len(name) for name in section.facts), default=0)
    for name, value in section.facts.items():
        console.print(f"  {name:{width}}  {show(value)}", soft_wrap=True)
    if section.rows:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for index, column in enumerate(section.columns):
            numbers = all(isinstance(row[index], (int, float, type(None))) for row in section.rows)
            table.add_column(column, justify="right" if numbers else "left", overflow="fold")
        for row in section.rows[:MOST_ROWS]:
            table.add_row(*(show(value) for value in row))
        console.print(table)
        if len(section.rows) > MOST_ROWS:
            console.print(f"  ... and {len(section.rows) - MOST_ROWS} rows more, all of them in --json")
    alike: Counter[tuple[Severity, str]] = Counter()
    for finding in sorted(section.findings, key=lambda finding: -finding.severity):
        kind = (finding.severity, finding.check)
        alike[kind] += 1
        if alike[kind] <= MOST_ALIKE:
            _print_finding(console, finding)
    for (severity, check), count in alike.items():
        if count > MOST_ALIKE:
            console.print(f"  ... and {count - MOST_ALIKE} more {severity.name} {check}, all of them in --json")


def _print_finding(console: Any, finding: Finding) -> None:
    style = STYLES[finding.severity]
    console.print(f"  {finding.severity.name} {finding.check}: {finding.what}", style=style, soft_wrap=True)
    if finding.fix:
        console.print(f"    -> {finding.fix}", soft_wrap=True)


def show(value: Any) -> str:
    """A value for people."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}" if abs(value) < 1e-3 else f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(show, value))
    return str(value)


def write_json(path: Path, parts: Parts, facts: Mapping[str, Any]) -> None:
    """Write the same as JSON, at once or not at all; the README describes it.

    Raises:
        LaunchError: it cannot be written.
    """
    severity = worst(section for sections in parts.values() for section in sections)
    document = {
        "version": VERSION,
        **facts,
        "severity": None if severity is None else severity.name.lower(),
        "exit_status": exit_status(parts),
        "parts": {name: [_section(section) for section in sections] for name, sections in parts.items()},
    }
    try:
        writing.write_json(path, document)
    except OSError as error:
        raise LaunchError(f"cannot write the report ({error})", where=path, fix="give --json another path") from error


def _section(section: Section) -> dict[str, Any]:
    return {
        "title": section.title,
        "facts": section.facts,
        "columns": section.columns,
        "rows": section.rows,
        "findings": [
            {"severity": f.severity.name.lower(), "check": f.check, "what": f.what, "fix": f.fix}
            for f in section.findings
        ],
    }

"""What an examination gives: sections of facts, tables and findings, the same on screen and in JSON."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


class Severity(enum.IntEnum):
    """How much a finding matters, least first.

    NOTE: worth knowing. WARNING: the run would work, but be slower or less safe than it could be.
    ERROR: it would fail, hang, or train something else than its config says.
    """

    NOTE = 0
    WARNING = 1
    ERROR = 2


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        check: what was looked at, such as `machine.affinity`: stable, for programs that read the JSON.
        what: what is so, with names and numbers.
        fix: what the user can do about it.
    """

    severity: Severity
    check: str
    what: str
    fix: str = ""


@dataclass
class Section:
    """One part of a report.

    Attributes:
        title: of the part, such as "devices".
        facts: what was seen, by name; values that JSON can hold.
        columns, rows: a table, where there is one; each row has a value for every column.
        findings: what of it matters.
    """

    title: str
    facts: dict[str, Any] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def find(self, severity: Severity, check: str, what: str, fix: str = "") -> None:
        """Add a finding."""
        self.findings.append(Finding(severity, check, what, fix))


def worst(sections: Iterable[Section]) -> Severity | None:
    """The most severe finding; None where nothing was found."""
    return max((finding.severity for section in sections for finding in section.findings), default=None)

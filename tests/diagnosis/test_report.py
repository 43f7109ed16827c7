"""The report for people and for programs, and what the exit status says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from weather.diagnosis.findings import Section, Severity
from weather.diagnosis.report import exit_status, print_part, print_result, show, write_json
from weather.errors import LaunchError


def section(*severities: Severity) -> Section:
    made = Section("part", facts={"rate": 1.5, "list": [1, 2]}, columns=("name", "value"), rows=[("a", float("nan"))])
    for severity in severities:
        made.find(severity, f"check.{severity.name.lower()}", "it is so [bold]", "mend it")
    return made


@pytest.mark.parametrize(
    ("severities", "status"),
    [((), 0), ((Severity.NOTE,), 0), ((Severity.NOTE, Severity.WARNING), 3), ((Severity.ERROR, Severity.WARNING), 1)],
)
def test_the_worst_finding_decides_the_status(severities: tuple[Severity, ...], status: int) -> None:
    assert exit_status({"machine": [section()], "data": [section(*severities)]}) == status


def test_the_report_is_plain_text_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    sections = [section(Severity.WARNING, Severity.ERROR)]
    print_part("machine", sections)
    print_result({"machine": sections})
    output = capsys.readouterr().out
    assert "\x1b" not in output
    assert output.index("ERROR check.error: it is so [bold]") < output.index("WARNING check.warning: it is so [bold]")
    assert "-> mend it" in output and "rate  1.5" in output and "list  1, 2" in output
    assert output.splitlines()[-3].split() == ["errors", "1", "check.error"]


def test_a_long_table_is_cut_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    long = Section("latency", columns=("rank",), rows=[(rank,) for rank in range(1000)])
    print_part("machine", [long])
    output = capsys.readouterr().out
    assert "960 rows more" in output and len(output.splitlines()) < 60


def test_what_is_the_same_on_many_nodes_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    many = section(*[Severity.ERROR] * 500, Severity.NOTE)
    print_part("machine", [many])
    print_result({"machine": [many]})
    output = capsys.readouterr().out
    assert "494 more ERROR check.error" in output and "errors    500" in output and "NOTE check.note" in output
    assert len(output.splitlines()) < 40


def test_json_holds_all_and_no_nan(tmp_path: Path) -> None:
    file = tmp_path / "new" / "report.json"
    write_json(file, {"machine": [section(Severity.WARNING)]}, {"ranks": 2})
    document = json.loads(file.read_text())
    assert document["version"] == 1 and document["ranks"] == 2
    assert document["severity"] == "warning" and document["exit_status"] == 3
    part = document["parts"]["machine"][0]
    assert part["title"] == "part" and part["facts"]["rate"] == 1.5 and part["rows"] == [["a", None]]
    assert part["findings"] == [
        {"severity": "warning", "check": "check.warning", "what": "it is so [bold]", "fix": "mend it"}
    ]


def test_json_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LaunchError, match="give --json another path"):
        write_json(tmp_path / "file" / "report.json", {}, {})


def test_values_are_short() -> None:
    assert [show(value) for value in (None, True, 0.12345, 1234.5, 1.5e-10, 3e9)] == [
        "-", "yes", "0.1235", "1234", "1.5e-10", "3e+09"
    ]  # fmt: skip

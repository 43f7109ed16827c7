"""A study's report: its parts, its files, what it says of studies that are not done, and how a browser shows it."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.browser import open_page
from tests.study.report.made_up import (
    BUDGETS,
    FLOPS_PER_PRODUCT,
    LAW,
    SIZES,
    budget_study,
    factor_study,
    write_run,
    write_table,
)
from weather.errors import DataError
from weather.presentation.style import png
from weather.study.folder import StudyFolder
from weather.study.report.material import read_material
from weather.study.report.predictions import COLUMNS, prediction_part
from weather.study.report.report import Report, write_report
from weather.study.report.skill import skill_part
from weather.study.results.registration import content_hash
from weather.study.results.skill import SkillRow, write_skill
from weather.study.results.table import read_table

ROOT = Path(__file__).parents[3]
DRAWS = 20
TEMPLATES = ("presentation/page.html.jinja", "study/report/report.html.jinja")
Study = tuple[StudyFolder, Report, str]


def report_of(folder: StudyFolder, **options: Any) -> Study:
    report = write_report(
        folder, folder.path / "report", command="python -m weather.scaling report x", draws=DRAWS, **options
    )
    return folder, report, report.page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def budgets(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder, rows = budget_study(tmp_path_factory.mktemp("study") / "optimal")
    rows[-1].update(status="failed", loss="", reason="nonfinite: loss is NaN <script>fetch('http://x')</script>")
    write_table(folder, rows)
    return report_of(folder)


@pytest.fixture(scope="module")
def factors(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return report_of(factor_study(tmp_path_factory.mktemp("study") / "factors")[0])


def sheet(report: Report, name: str) -> list[dict[str, str]]:
    with (report.page.parent / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_figures_and_tables_lie_beside_the_page(budgets: Study) -> None:
    _, report, _ = budgets
    names = {path.name for path in report.files}
    figures = ("isoflop_curves", "law_curves", "law_contours", "optima", "residuals", "back_test_runs")
    figures += ("quality_against_cost", "training_against_validation", "loss_curves")
    assert {f"{name}.{kind}" for name in figures for kind in ("png", "csv")} <= names
    assert {path.name for path in report.page.parent.iterdir()} == {*names, "report.html"}
    assert len(names) == len(report.files)  # no file is written over another
    assert all(path.stat().st_size > 20 for path in report.files)
    assert report.page.stat().st_size < 4e6


def test_numbers_are_those_of_the_law_behind_the_runs(budgets: Study) -> None:
    """Half a percent of noise in the loss moves minima by some percent, and a parabola is not quite the law."""
    _, report, _ = budgets
    minima = sheet(report, "isoflop_minima")
    assert len(minima) == len(BUDGETS)
    for row, flops in zip(minima, BUDGETS, strict=True):
        best = LAW.optimum(flops, FLOPS_PER_PRODUCT)
        assert float(row["parameters"]) == pytest.approx(best.parameters, rel=0.25)
        assert float(row["loss"]) == pytest.approx(best.loss, rel=0.02)
    exponents = sheet(report, "optimum_exponents")
    assert all(float(row["a"]) == pytest.approx(LAW.parameter_exponent, abs=0.03) for row in exponents)
    assert len(exponents) == 3
    saved = sheet(report, "savings")[0]
    assert float(saved["saved"]) == pytest.approx(1 - float(saved["flops"]) / float(saved["flops_alone"]))


def test_bands_hold_the_law(budgets: Study) -> None:
    """Of 90 % bands of one draw most points hold the truth; of bands that are wrong, none would."""
    _, report, _ = budgets
    rows = [row for row in sheet(report, "optima") if row["quantity"] == "loss"]
    held = [
        float(row["low"]) < LAW.optimum(float(row["flops"]), FLOPS_PER_PRODUCT).loss < float(row["high"])
        for row in rows
    ]
    assert sum(held) > 0.6 * len(held)
    assert all(float(row["high"]) < 1.2 * float(row["low"]) for row in rows)


def test_trunks_and_failures_are_not_fitted(budgets: Study) -> None:
    folder, report, page = budgets
    fitted = {row["run"] for row in sheet(report, "residuals")}
    roles = {row["name"]: row["role"] for row in csv.DictReader((folder.path / "runs.csv").open())}
    failed = sheet(report, "failures")
    assert [row["status"] for row in failed] == ["failed"]
    assert fitted == {name for name, role in roles.items() if role == "branch"} - {failed[0]["name"]}
    assert "<script>fetch" not in page
    assert "&lt;script&gt;fetch" in page
    assert sheet(report, "impossible")[0]["nearest"] == "a budget of 5e11 FLOPs"


def test_every_number_has_its_origin(budgets: Study) -> None:
    folder, report, _ = budgets
    facts = {row["what"]: row["value"] for row in sheet(report, "provenance")}
    assert facts["sha256 of the table"] == hashlib.sha256((folder.path / "runs.csv").read_bytes()).hexdigest()
    assert facts["command"] == "python -m weather.scaling report x"
    runs = sheet(report, "run_provenance")
    assert [row["name"] for row in runs] == [run.name for run in folder.read_plan().runs]
    assert all(row["commit"] == "0123456789ab" and Path(row["config"]).exists() and row["torch"] for row in runs)


def test_predictions_are_shown_with_their_scores_unless_they_were_edited(tmp_path: Path) -> None:
    folder, rows = budget_study(tmp_path / "optimal", budgets=BUDGETS[:1])
    loss, size = {"estimate": 0.5, "low": 0.4, "high": 0.6, "level": 0.9}, {"estimate": 1e4}
    common = {"time": "2026-01-01", "blind": True, "flops": 1e12, "parameters": size, "samples": size, "loss": loss}
    (folder.path / "predictions").mkdir()
    for name in ("held", "waiting", "edited"):
        record: dict[str, Any] = {"id": name, **common}
        record["hash"] = content_hash(record)
        record |= {"flops": 2e12} if name == "edited" else {}
        (folder.path / "predictions" / f"{name}.json").write_text(json.dumps(record))
    score = {"run": rows[1]["name"], "loss": 0.47, "inside": True, "error": 0.064}
    (folder.path / "predictions" / "held.score.json").write_text(json.dumps(score))
    part = prediction_part(read_material(folder))
    names = [column.name for column in COLUMNS]
    shown = {row[1]: dict(zip(names, row, strict=True)) for row in part.sheets[0].rows}
    assert set(shown) == {"held", "waiting"}
    assert (shown["held"]["interval"], shown["held"]["inside"]) == ("0.4 to 0.6, 90%", "yes")
    assert (shown["held"]["seen_loss"], shown["waiting"]["inside"]) == (0.47, None)
    assert [len(cells[-1][0]) for cells in part.sheets[0].cells()] == [7, 7]
    assert all(len(row["hash"]) == 64 for row in shown.values())
    assert "was edited after it was registered" in part.remarks[0]
    assert part.remarks[1].startswith("Not scored yet: waiting.")


def test_channels_have_their_errors_and_maps(tmp_path: Path) -> None:
    folder, rows = budget_study(tmp_path / "optimal", sizes=SIZES[1:5], budgets=BUDGETS[:3])
    skill = [
        SkillRow(row["name"], channel, "K", lead, row["loss"] ** 0.5 * lead, 0.0, 0.0, 0.9, 30.0, 20.0, 50, "test")
        for row in rows
        if row["role"] == "branch"
        for channel in ("t500", "t850")
        for lead in (6.0, 24.0)
    ]
    write_skill(folder.path / "skill.csv", skill)
    part = skill_part(read_material(folder), read_table(folder.path / "runs.csv"))
    assert [drawing.name for drawing in part.drawings] == ["skill", "channel_maps"]
    best = part.sheets[0].rows
    assert [row[:2] for row in best[:2]] == [("t500", 6.0), ("t500", 24.0)]
    assert best[0][-1] == min((row for row in rows if row["role"] == "branch"), key=lambda row: row["loss"])["name"]
    assert len(part.drawings[1].rows) == 4
    assert png(part.drawings[1].figure).startswith(b"\x89PNG")


def test_a_factor_study_shows_each_factor(factors: Study) -> None:
    _, report, page = factors
    assert {"factor_model.png", "factor_batch.png", "factor_devices.png", "scaling_efficiency.png"} <= {
        path.name for path in report.files
    }
    rows = sheet(report, "efficiency")
    assert [row["scaling"] for row in rows] == ["devices, strong"] * 4 + ["devices, weak"] * 4
    assert [float(row["ranks"]) for row in rows] == [1, 2, 4, 8] * 2, "the base is part of both"
    for row in rows:  # made up with a throughput of ranks to the power 0.9, and in weak scaling 1
        lost = 0.0 if row["scaling"].endswith("weak") else -0.1
        assert float(row["efficiency"]) == pytest.approx(float(row["ranks"]) ** lost, rel=1e-6)
    assert [row["name"] for row in sheet(report, "factor_model_runs")] == ["model-0.5", "base-1", "model-2", "model-4"]
    assert "Factor: base" not in page
    assert "IsoFLOP" not in page
    assert report.missing == ("Channels and lead times",)


@pytest.mark.parametrize("kind", ["planned", "failures", "nan", "running", "one budget"])
def test_a_study_that_is_not_done_is_reported_too(kind: str, tmp_path: Path) -> None:
    folder, rows = budget_study(tmp_path / kind, budgets=BUDGETS[: 1 if kind == "one budget" else 2])
    plan = folder.read_plan()
    if kind == "planned":
        (folder.path / "runs.csv").unlink()
        for run in plan.runs:
            (folder.run(run.name) / "metrics.jsonl").unlink()
    elif kind == "failures":
        write_table(folder, [{"name": row["name"], "status": "failed", "reason": "out of memory"} for row in rows])
        for run in plan.runs:
            write_run(folder, run, 1.0, upto=0.0)
    elif kind == "nan":
        write_table(folder, [{**row, "loss": float("nan")} for row in rows])
        for run in plan.runs:
            write_run(folder, run, float("nan"))
    elif kind == "running":
        write_table(folder, [{**row, "status": "running", "loss": "", "own_C": ""} for row in rows])
        for run in plan.runs:
            write_run(folder, run, 1.0, upto=0.0)
    _, report, page = report_of(folder)
    assert "IsoFLOP curves" in report.missing
    # With one budget there are no two minima, and N and D rise and fall together.
    assert ("1 of 1 budgets have a minimum" if kind == "one budget" else "Nothing is fitted.") in page
    for title in report.missing:  # one sentence, and a command
        part = page[page.index(f'-title">{title}</h2>') :]
        assert "<code>python -m weather.scaling " in part[: part.index("</section>")], title
    assert ("out of memory" in page) == (kind == "failures")


def test_what_is_no_study_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no study here"):
        report_of(StudyFolder(tmp_path / "none"))


@pytest.mark.parametrize("width", [1200, 500])
def test_a_browser_shows_the_whole_page(budgets: Study, width: int, tmp_path: Path) -> None:
    _, report, _ = budgets
    seen = open_page(report.page, tmp_path, width)
    assert seen.console == []
    found = seen.found
    assert (found["failed"], found["requests"], found["dead"], found["cut"]) == ([], [], [], [])
    assert len(found["images"]) == 9
    assert all(alternative and pixels > 500 for alternative, pixels in found["images"])
    assert len(found["tables"]) == 12
    assert all(found["tables"])
    assert found["width"] == [width, width]
    assert {"Summary", "IsoFLOP curves", "Residuals", "Failures", "Provenance"} <= set(found["headings"])


def test_the_browser_sees_what_would_be_wrong(tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(
        "<!DOCTYPE html><html><head></head><body><main><img alt='' src='data:image/png;base64,AAAA'>"
        "<img alt='' src='http://127.0.0.1:9/x.png'><p style='width:2000px'>long</p><a href='#gone'>x</a></main>"
        "<script>nowhere()</script></body></html>"
    )
    seen = open_page(page, tmp_path, 500)
    assert any("nowhere is not defined" in line for line in seen.console)
    assert seen.found["requests"] == ["http://127.0.0.1:9/x.png"]
    assert [pixels for _, pixels in seen.found["images"]] == [0, 0]
    assert seen.found["dead"] == ["gone"]
    assert len(seen.found["cut"]) == 1


def test_the_command_says_where_the_page_is(tmp_path: Path) -> None:
    folder, rows = factor_study(tmp_path / "factors")
    for row in rows:
        shutil.rmtree(row["run"])
    command = [
        sys.executable,
        "-m",
        "weather.scaling",
        "report",
        str(folder.path),
        "--out",
        str(tmp_path / "out"),
        "--json",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert "Factor: model" in told["missing"]  # collected anew: no run has begun
    assert Path(told["page"]).exists()
    assert all(Path(path).exists() for path in told["files"])


def test_the_templates_are_part_of_the_package(tmp_path: Path) -> None:
    build = "import setuptools; setuptools.setup()"
    arguments = ["-q", "build_py", "--build-lib", str(tmp_path), "--force"]
    done = subprocess.run(
        [sys.executable, "-c", build, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert all((tmp_path / "weather" / name).exists() for name in TEMPLATES)

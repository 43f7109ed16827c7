"""All outputs together: what is written, what a browser shows, and what happens when one of them fails."""

from __future__ import annotations

import builtins
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser import open_page
from tests.verification.scorecard.made_up import ORIGIN, make_example, make_scores
from weather.errors import DataError
from weather.verification.scorecard import maps
from weather.verification.scorecard.console import initial_times
from weather.verification.scorecard.estimates import estimate
from weather.verification.scorecard.figures import chapters
from weather.verification.scorecard.origin import Other
from weather.verification.scorecard.outputs import Wanted, make_outputs

FIGURES = {"scorecard", "rmse_and_acc", "rmse_by_region", "spectra", "forecast", "maps_t850", "maps_z500"}
OF_RUNS = {"scorecard_runs", "rmse_difference"}
RUNS = ("small", "_odd <i>[b] $a_$")
NUMBERS = {"scores_test.json", "scores_test.origin.json", "scores_test.csv", "scores_test.full.json"}


def wanted(folder: Path, **changes: Any) -> Wanted:
    plots = folder / "plots"
    return Wanted(folder / "scores_test.json", plots, plots / "forecast_test.png", "test", **changes)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("matplotlib")
    folder = tmp_path_factory.mktemp("run")
    (folder / "plots").mkdir()
    for name in ("maps_gone_test.png", "maps_z500_valid.png"):  # of an earlier verification, and of another split
        (folder / "plots" / name).touch()
    others = {RUNS[0]: Other("small", "checkpoint_step_7", 7, 12.0)}
    origin = dataclasses.replace(ORIGIN, others=others)
    make_outputs(make_scores(blown_up=3, runs=RUNS), origin, wanted(folder), lambda: make_example(bad=True))
    return folder


def test_everything_is_written(made: Path) -> None:
    assert {path.name for path in made.iterdir() if path.is_file()} == NUMBERS | {"scores_test.html"}
    figures = {path.name: path.read_bytes() for path in (made / "plots").iterdir()}
    assert figures.pop("maps_z500_valid.png") == b""
    assert set(figures) == {f"{name}_test.png" for name in FIGURES | OF_RUNS}
    assert all(content.startswith(b"\x89PNG") and len(content) > 10_000 for content in figures.values())


def test_a_figure_alone_says_what_it_is_of() -> None:
    pytest.importorskip("matplotlib")
    found = estimate(make_scores(), name=ORIGIN.run)
    plates = {plate.name: plate for chapter in chapters(found, make_example()) for plate in chapter.plates}
    assert set(plates) == FIGURES
    for name, marks in (("rmse_and_acc", "Thin line: ACC 0.6"), ("forecast", "forecast from"), ("spectra", "")):
        said = " ".join(plates[name].drawing(ORIGIN).figure.get_supxlabel().split())
        assert said.startswith(f"{ORIGIN.run}, {ORIGIN.checkpoint}, step {ORIGIN.step}, split '{ORIGIN.split}'; ")
        assert marks in said and ("Bands: 90% interval over initial times" in said) == (name == "rmse_and_acc")
        assert initial_times(found) in said or name == "forecast"


@pytest.mark.parametrize("width", [1200, 500])
def test_a_browser_shows_the_whole_page(made: Path, width: int, tmp_path: Path) -> None:
    seen = open_page(made / "scores_test.html", tmp_path, width)
    assert seen.console == []
    found = seen.found
    assert (found["failed"], found["requests"], found["dead"], found["cut"]) == ([], [], [], [])
    assert len(found["images"]) == len(FIGURES | OF_RUNS)
    assert all(alternative and pixels > 400 for alternative, pixels in found["images"])
    assert all(found["tables"])
    assert found["width"] == [width, width]
    assert {"Files", "Scorecard", "Spectra", "Scores", "Definitions", "Provenance", "Beside other runs"} <= set(
        found["headings"]
    )


def test_the_page_names_its_origin_and_files(made: Path) -> None:
    page = (made / "scores_test.html").read_text(encoding="utf-8")
    assert "made &lt;b&gt;up&lt;/b&gt;" in page
    assert "<b>up</b>" not in page
    assert all(f'href="{name}"' in page for name in NUMBERS)
    assert 'role="alert">FORECASTS BLEW UP' in page
    assert "FORECASTS OF small BLEW UP" in page
    assert "Beside small (checkpoint_step_7, step 7, forecasts of 12h): of 9 pairs" in page
    assert "_odd &lt;i&gt;[b] $a_$" in page and "<i>" not in page
    assert "small: checkpoint_step_7, step 7" in page, "the provenance names it"
    assert all(fact in page for fact in ("0123456789ab", "checkpoint_epoch_3", "/data/archive", "Rasp et al. 2024"))


def test_without_matplotlib_and_jinja_the_numbers_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    importing: Callable[..., Any] = builtins.__import__

    def refuse(name: str, *arguments: Any, **options: Any) -> Any:
        if name.split(".")[0] in ("matplotlib", "jinja2"):
            raise ImportError(name)
        return importing(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    make_outputs(make_scores(), ORIGIN, wanted(tmp_path), make_example)  # no failure
    said = capsys.readouterr().out
    assert said.count("pip install") == 2, "each said once, not once a figure"
    assert "the figures need matplotlib" in said
    assert "the page needs jinja2" in said
    assert {path.name for path in tmp_path.iterdir()} == NUMBERS


def test_one_output_that_fails_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "scores_test.csv").mkdir()  # cannot be replaced by a file

    def no_room(*_: Any) -> Any:
        raise MemoryError("no room")

    monkeypatch.setattr(maps, "_draw", no_room)
    few = make_scores(("z500",), leads=(6.0,), regions=("global",), wavenumbers=make_scores().wavenumbers[:0])
    with pytest.raises(DataError, match="4 outputs failed") as failure:
        make_outputs(few, ORIGIN, wanted(tmp_path), lambda: make_example(("z500",)))
    assert "table: IsADirectoryError" in str(failure.value)
    assert "figure forecast: MemoryError: no room" in str(failure.value)
    assert json.loads((tmp_path / "scores_test.json").read_text())["z500"]["6"]["model"]["rmse"] > 0
    assert (tmp_path / "plots" / "scorecard_test.png").exists()
    page = (tmp_path / "scores_test.html").read_text(encoding="utf-8")
    assert all(why in page for why in ("There is one lead only", "--regions names others", "--no-spectra", "no room"))
    assert "z500" in capsys.readouterr().out

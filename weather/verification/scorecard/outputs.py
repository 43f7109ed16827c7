"""Makes all outputs of a verification, numbers first; one that fails is named and costs no other."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from weather.errors import ConfigError, DataError
from weather.presentation.parts import Drawing, Part
from weather.presentation.writing import write_bytes
from weather.runtime.progress import progress_bar
from weather.verification.scorecard.console import print_scorecard
from weather.verification.scorecard.estimates import Estimates, estimate
from weather.verification.scorecard.example import Example
from weather.verification.scorecard.figures import FORECAST, Plate, chapters
from weather.verification.scorecard.files import (
    csv_file,
    full_file,
    origin_file,
    page_file,
    write_everything,
    write_scores,
    write_table,
)
from weather.verification.scorecard.origin import Origin
from weather.verification.scorecard.page import write_page
from weather.verification.scores import Scores

Result = TypeVar("Result")


@dataclass(frozen=True)
class Wanted:
    """What to make of a verification.

    Attributes:
        scores: file of the global scores; other numbers and the page lie beside it.
        figures: folder of the figures.
        forecast: file of the maps at the first lead.
        split: that names the figures.
        draw, page: whether there are figures, and a page.
        all_channels: on the console.
    """

    scores: Path
    figures: Path
    forecast: Path
    split: str
    draw: bool = True
    page: bool = True
    all_channels: bool = False

    @staticmethod
    def of_run(run: Path, split: str, *, scores: Path | None, forecast: Path | None, **others: bool) -> Wanted:
        """Outputs in a run's folder, unless files are named."""
        figures = run / "plots"
        beside = scores or run / f"scores_{split}.json"
        return Wanted(beside, figures, forecast or figures / f"forecast_{split}.png", split, **others)


@dataclass
class Attempts:
    """What was tried: notes on extras that are not installed, and failures, each said once when it happens."""

    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def of(self, what: str, make: Callable[[], Result]) -> Result | None:
        """The result, or None where it failed."""
        try:
            return make()
        except ConfigError as error:  # an extra that is not installed
            self._keep(self.notes, str(error))
        except Exception as error:  # whatever it is, what took an hour to compute must not be lost with it
            self._keep(self.failures, f"{what}: {type(error).__name__}: {error}")
        return None

    def _keep(self, where: list[str], text: str) -> None:
        if text not in where:
            where.append(text)
            print(f"warning: {text}", flush=True)

    def check(self) -> None:
        """Raises:
        DataError: something failed.
        """
        if self.failures:
            raise DataError(
                f"{len(self.failures)} outputs failed ({'; '.join(self.failures)})", rule="all others were made"
            )


def make_outputs(scores: Scores, origin: Origin, wanted: Wanted, example: Callable[[], Example]) -> None:
    """Print the scorecard and write files of numbers, figures, and the page.

    Args:
        example: makes the forecast that maps show.

    Raises:
        DataError: an output failed; all others were made.
    """
    tried = Attempts()
    tried.of("scores", lambda: write_scores(scores, origin, wanted.scores))
    with progress_bar("intervals") as done:
        found = estimate(scores, name=origin.run, done=done)
    tried.of("console", lambda: print_scorecard(found, origin, all_channels=wanted.all_channels))
    table, full, page = csv_file(wanted.scores), full_file(wanted.scores), page_file(wanted.scores)
    tried.of("earlier outputs", lambda: _remove([table, full, page]))
    tried.of("table", lambda: write_table(found, table))
    tried.of("all numbers", lambda: write_everything(found, origin, full))
    files = [path for path in (wanted.scores, origin_file(wanted.scores), table, full) if path.is_file()]
    print("numbers: " + ", ".join(map(str, files)))
    parts = _figures(found, origin, wanted, example, tried) if wanted.draw else ()
    if wanted.page and tried.of("page", lambda: write_page(found, origin, parts, files, page)) is not None:
        print(f"page: {page}")
    tried.check()


def _earlier_figures(wanted: Wanted) -> list[Path]:
    """Figures of an earlier verification of the split, which may have had other leads and channels."""
    names = ("scorecard", "scorecard_runs", "rmse_difference", "rmse_and_acc", "rmse_by_region", "spectra", "maps_*")
    return [path for name in names for path in wanted.figures.glob(f"{name}_{wanted.split}.png")]


def _remove(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _figures(
    found: Estimates, origin: Origin, wanted: Wanted, example: Callable[[], Example], tried: Attempts
) -> tuple[Part, ...]:
    """Draw all figures into their folder; parts of the page with those that could be drawn."""
    forecast = tried.of("forecast to look at", example)
    found_chapters = chapters(found, forecast, "" if forecast else "The forecast to look at could not be made.")
    plates = [plate for chapter in found_chapters for plate in chapter.plates]
    drawn: dict[str, Drawing] = {}
    with progress_bar("figures") as done:
        for number, plate in enumerate(plates, start=1):
            drawing = tried.of(f"figure {plate.name}", functools.partial(plate.drawing, origin))
            if drawing is not None:
                drawn[plate.name] = drawing
                content, path = drawing.drawn or b"", _path(plate, wanted)
                tried.of(f"figure {plate.name}", functools.partial(write_bytes, path, content))
            done(number, len(plates))
    if drawn:
        new = [_path(plate, wanted) for plate in plates if plate.name in drawn]
        tried.of("earlier figures", lambda: _remove([path for path in _earlier_figures(wanted) if path not in new]))
        print(f"figures: {len(drawn)} in {wanted.figures}, maps at the first lead in {wanted.forecast}")
    lacking = "The figures could not be drawn: " + " ".join(tried.notes + tried.failures)
    return tuple(
        chapter.part(
            tuple(drawn[plate.name] for plate in chapter.plates if plate.name in drawn),
            "" if any(plate.name in drawn for plate in chapter.plates) else lacking,
        )
        for chapter in found_chapters
    )


def _path(plate: Plate, wanted: Wanted) -> Path:
    return wanted.forecast if plate.name == FORECAST else wanted.figures / f"{plate.name}_{wanted.split}.png"

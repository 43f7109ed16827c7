"""The figures of a scorecard with their captions and numbers: which there are, and why others are not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weather.presentation.parts import Drawing, Part
from weather.presentation.style import note_below, png
from weather.presentation.writing import plain
from weather.verification.leads import describe_lead
from weather.verification.scorecard import difference_curves, heat_map, lead_curves, maps, spectrum_figure
from weather.verification.scorecard.console import initial_times
from weather.verification.scorecard.estimates import Estimates
from weather.verification.scorecard.example import Example
from weather.verification.scorecard.files import COLUMNS, TRUTH, table_rows
from weather.verification.scorecard.headline import headline_channels
from weather.verification.scorecard.origin import Origin
from weather.verification.scores import BASELINES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORECAST = "forecast"  # name of the maps at the first lead
MORE_LEADS = "verify at several: --leads 6h,1d,3d,5d"


@dataclass(frozen=True)
class Plate:
    """A figure that can be drawn.

    Attributes:
        name: of its file, without ending.
        note: below it, of what it is and what its marks are, for who finds it without its caption.
        names, rows: of its numbers as CSV; empty where they are fields.
    """

    name: str
    draw: Callable[[], Figure]
    caption: str
    alternative: str
    note: str
    names: tuple[str, ...] = ()
    rows: tuple[tuple[Any, ...], ...] = ()

    def drawing(self, origin: Origin) -> Drawing:
        """Drawn, with a note of where it comes from.

        Raises:
            ConfigError: matplotlib is not installed.
        """
        figure = self.draw()
        note_below(figure, f"{origin.describe()}; {self.note}")
        return Drawing(self.name, figure, self.caption, self.alternative, self.names, self.rows, png(figure))


@dataclass(frozen=True)
class Chapter:
    """Figures that belong together, or why there are none."""

    anchor: str
    title: str
    plates: tuple[Plate, ...] = ()
    missing: str = ""

    def part(self, drawings: tuple[Drawing, ...], missing: str = "") -> Part:
        """For the page."""
        return Part(self.anchor, self.title, drawings=drawings, missing=self.missing or missing)


def chapters(found: Estimates, example: Example | None, no_example: str = "") -> tuple[Chapter, ...]:
    """All figures of a scorecard.

    Args:
        no_example: why there is no forecast to look at.
    """
    return (
        _heat_map(found),
        *([_runs(found)] if found.runs else []),
        _curves(found),
        _regions(found),
        _spectra(found),
        Chapter("maps", "Maps of one forecast", tuple(_maps(example)) if example else (), no_example),
    )


def _note(found: Estimates, marks: str) -> str:
    return f"{initial_times(found)}. {marks}".rstrip()


def _interval(found: Estimates) -> str:
    if not found.has_intervals:
        return "There are no intervals."
    return f"Bands: {found.coverage:.0%} interval over initial times."


def _heat_map(found: Estimates) -> Chapter:
    anchor, title = "scorecard", "Scorecard"
    if not found.baselines:
        return Chapter(anchor, title, missing="The model was verified without a baseline to compare it with.")
    return Chapter(anchor, title, (_heat_map_plate(found, "scorecard", "baseline", found.baselines, heat_map.FULL),))


def _heat_map_plate(found: Estimates, name: str, what: str, others: tuple[str, ...], full: float) -> Plate:
    unsure = " In brackets, or with a dot: the interval of the difference holds 0." if found.has_intervals else ""
    caption = (
        f"RMSE of the model relative to each {what} over the globe; blue: the model is better, red: the {what} is."
        f"{unsure} Grey: no finite score."
    )
    metrics = tuple(f"{kind}_{other}" for other in others for kind in ("skill", "rmse_minus"))
    return Plate(
        name,
        lambda: heat_map.draw_heat_map(found, others, full=full),
        caption,
        f"Heat map of {len(found.scores.channels)} channels and {len(found.scores.lead_hours)} leads, a panel for each "
        f"{what}.",
        _note(found, f"{unsure.strip()} Grey: no finite score.".strip()),
        COLUMNS,
        tuple(table_rows(found, regions=("global",), metrics=metrics)),
    )


def _runs(found: Estimates) -> Chapter:
    full = heat_map.range_of(found, found.runs)
    plates = [_heat_map_plate(found, "scorecard_runs", "other run", found.runs, full)]
    if len(found.scores.lead_hours) > 1:
        shown = [found.scores.channels[c] for c in headline_channels(found.scores.channels, lead_curves.MOST_CHANNELS)]
        metrics = tuple(f"rmse_minus_{run}" for run in found.runs)
        sure = " A filled marker: the interval excludes 0." if found.has_intervals else ""
        plates.append(Plate(
            "rmse_difference",
            lambda: difference_curves.draw_differences(found),
            "RMSE of the model less that of the other run over the globe, by lead time; below 0 the model is better. "
            f"{_interval(found)}{sure}",
            f"Difference of the RMSE by lead of {', '.join(shown)} to {len(found.runs)} other runs.",
            _note(found, f"{_interval(found)}{sure}"),
            COLUMNS,
            tuple(table_rows(found, regions=("global",), channels=shown, metrics=metrics)),
        ))  # fmt: skip
    return Chapter("runs", "Beside other runs", tuple(plates))


def _curves(found: Estimates) -> Chapter:
    anchor, title = "leads", "RMSE and ACC by lead time"
    scores = found.scores
    if len(scores.lead_hours) < 2:
        return Chapter(anchor, title, missing=f"There is one lead only, and so no curve; {MORE_LEADS}")
    shown = [scores.channels[c] for c in headline_channels(scores.channels, lead_curves.MOST_CHANNELS)]
    caption = (
        "Root mean square error and anomaly correlation over the globe by lead time. Where the model's RMSE rises "
        f"above climatology, what is usual is the better forecast. {_interval(found)} Thin line: an ACC of "
        f"{lead_curves.USEFUL}, by convention the limit of a useful forecast."
    )
    return Chapter(anchor, title, (Plate(
        "rmse_and_acc",
        lambda: lead_curves.draw_lead_curves(found),
        caption,
        f"RMSE and ACC by lead of {', '.join(shown)}, of the model and the baselines.",
        _note(found, f"{_interval(found)} Thin line: ACC {lead_curves.USEFUL}, the limit of use."),
        COLUMNS,
        tuple(table_rows(found, regions=("global",), channels=shown, metrics=("rmse", "acc"))),
    ),))  # fmt: skip


def _regions(found: Estimates) -> Chapter:
    anchor, title = "regions", "Regions"
    scores = found.scores
    if len(scores.regions) < 2:
        return Chapter(anchor, title, missing="The globe alone was verified; --regions names others")
    if len(scores.lead_hours) < 2:
        return Chapter(
            anchor,
            title,
            missing=f"There is one lead only, and so no curve (the CSV file has all regions); {MORE_LEADS}",
        )
    shown = [scores.channels[c] for c in headline_channels(scores.channels, lead_curves.MOST_REGIONAL)]
    regions = lead_curves.shown_regions(scores.regions)
    return Chapter(anchor, title, (Plate(
        "rmse_by_region",
        lambda: lead_curves.draw_regions(found),
        f"Root mean square error by lead time in each region; its bounds are 20\N{DEGREE SIGN}. {_interval(found)}",
        f"RMSE by lead of {', '.join(shown)} in {len(regions)} regions.",
        _note(found, _interval(found)),
        COLUMNS,
        tuple(table_rows(found, regions=regions, channels=shown, metrics=("rmse",))),
    ),))  # fmt: skip


def _spectra(found: Estimates) -> Chapter:
    anchor, title = "spectra", "Spectra"
    scores = found.scores
    if not scores.wavenumbers.size:
        why = " ".join(remark for remark in scores.remarks if "spectr" in remark)
        return Chapter(anchor, title, missing=why or "No spectra were computed (--no-spectra).")
    shown = [scores.channels[c] for c in headline_channels(scores.channels, spectrum_figure.MOST_CHANNELS)]
    caption = (
        "Zonal power spectra, mean over initial times and area, of the truth and of forecasts at rising leads, "
        "and their ratio. Below 1 a model has lost waves of that length, as one does that is blurred; above 1 it has "
        "noise."
    )
    rows = tuple(
        (channel, f"{lead:g}", source, int(k), *plain([scores.power[s, at, scores.channels.index(channel), n]]))
        for channel in shown
        for at, lead in enumerate(scores.lead_hours)
        for s, source in enumerate((*scores.sources, TRUTH))
        if source not in BASELINES
        for n, k in enumerate(scores.wavenumbers)
    )
    return Chapter(anchor, title, (Plate(
        "spectra",
        lambda: spectrum_figure.draw_spectra(scores),
        caption,
        f"Power over zonal wavenumber of {', '.join(shown)}, forecast and truth.",
        _note(found, ""),
        ("channel", "lead_hours", "source", "wavenumber", "power"),
        rows,
    ),))  # fmt: skip


def _maps(example: Example) -> Iterator[Plate]:
    begins = "" if example.initial_time is None else f" from {str(example.initial_time)[:13]} UTC"
    first = describe_lead(example.lead_hours[0])
    yield Plate(
        FORECAST,
        lambda: maps.draw_overview(example),
        f"Truth, forecast and error {first} after the start{begins}. Grey: not finite.",
        f"Maps of {', '.join(example.channels)}: truth, forecast and error.",
        f"forecast{begins}. Grey: not finite.",
    )
    leads = range(len(example.lead_hours))
    if len(leads) < 2:
        return
    for index, channel in enumerate(example.channels):
        yield Plate(
            f"maps_{channel}",
            lambda index=index: maps.draw_channel(example, index, leads),  # type: ignore[misc]
            f"{channel}: truth, forecast and error of the forecast{begins}, all leads in the same colours.",
            f"Maps of {channel} at {len(leads)} leads: truth, forecast and error.",
            f"forecast{begins}. Grey: not finite.",
        )

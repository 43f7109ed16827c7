"""The scorecard as one page that holds its figures and tables, and links to the files of numbers beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from weather.presentation.numbers import number
from weather.presentation.page import Heading, render
from weather.presentation.parts import Part
from weather.presentation.writing import write_whole
from weather.verification.leads import describe_lead
from weather.verification.scorecard.console import blown_up, initial_times
from weather.verification.scorecard.estimates import Estimates
from weather.verification.scorecard.headline import headline_channels
from weather.verification.scorecard.origin import Origin
from weather.verification.scorecard.tables import definition_part, provenance_part, reach_part, run_part, score_part

PACKAGE, TEMPLATE = "weather.verification.scorecard", "scorecard.html.jinja"


def write_page(found: Estimates, origin: Origin, figures: Sequence[Part], files: Sequence[Path], path: Path) -> Path:
    """Write the page, and say where it is.

    Args:
        figures: parts that hold them, or say why there are none.
        files: of numbers, in the page's folder.

    Raises:
        ConfigError: jinja2 is not installed.
        OSError: it cannot be written.
    """
    warnings = (*found.scores.remarks, *origin.warnings)
    parts = [
        reach_part(found),
        *([run_part(found, origin)] if found.runs else []),
        *figures,
        score_part(found),
        definition_part(found),
        provenance_part(origin.record(found.scores), warnings),
    ]
    heading = Heading(
        f"Forecast skill: {origin.run}",
        f"{origin.checkpoint}, step {origin.step}, on the split '{origin.split}': {initial_times(found)}",
        tuple(_headline(found)),
    )
    alarms = list(blown_up(found))
    write_whole(path, render(PACKAGE, TEMPLATE, heading, parts, alarms=alarms, files=[file.name for file in files]))
    return path


def _headline(found: Estimates) -> list[tuple[str, str]]:
    """The first headline channel in a few numbers."""
    scores = found.scores
    channel, lead = headline_channels(scores.channels, 1)[0], len(scores.lead_hours) - 1
    said = [(str(scores.samples), "initial times"), (str(len(scores.channels)), "channels")]
    leads = [describe_lead(hours) for hours in scores.lead_hours]
    said.append((leads[0] if len(leads) == 1 else f"{leads[0]} to {leads[-1]}", "lead time"))
    for other, against in found.skill.items():
        skill = float(against[0, lead, channel])
        what = f"skill vs {other}, {scores.channels[channel]} at {leads[-1]}"
        said.append((f"{number(100 * skill, 3)} %" if skill == skill else "none", what))
    return said

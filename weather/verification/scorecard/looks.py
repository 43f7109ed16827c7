"""How sources and leads look, the same in all figures of a scorecard."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weather.presentation.numbers import SUPERSCRIPTS
from weather.presentation.style import COLOURS, MARKERS, QUIET
from weather.verification.scores import CLIMATOLOGY, MODEL, PERSISTENCE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DAYS_FROM = 48.0  # hours of the longest lead from which axes count days


@dataclass(frozen=True)
class Look:
    """Of a source: told apart by colour, by line, and by marker."""

    color: str
    linestyle: str
    marker: str

    def line(self) -> dict[str, Any]:
        """For matplotlib."""
        return {"color": self.color, "linestyle": self.linestyle, "marker": self.marker, "markersize": 3.5}


LOOKS = {
    MODEL: Look(COLOURS[0], "-", "o"),
    PERSISTENCE: Look(COLOURS[1], "--", "s"),
    CLIMATOLOGY: Look(QUIET, ":", ""),
}
TRUTH = Look("black", "-", "")
FIRST_RUN, RUNS = 2, 4  # colours that no baseline has, and that are not the truth's black


def look_of(source: str, runs: Sequence[str]) -> Look:
    """Of the model, a baseline, or one of some other runs; after four runs colours come again with another line."""
    if source in LOOKS:
        return LOOKS[source]
    turn, number = divmod(runs.index(source), RUNS)
    return Look(COLOURS[FIRST_RUN + number], ("-", "-.", "--")[min(turn, 2)], MARKERS[FIRST_RUN + number])


def literal(name: str) -> str:
    """A run's name as matplotlib shows it: no formula between dollars, and not left out of a legend for its `_`."""
    return (" " if name.startswith("_") else "") + name.replace("$", r"\$")


def lead_axis(leads: Sequence[float]) -> tuple[list[float], str]:
    """Leads as they are drawn, and the label of the axis."""
    days = leads[-1] >= DAYS_FROM
    return [lead / 24 if days else lead for lead in leads], f"lead time [{'days' if days else 'hours'}]"


def typeset(unit: str) -> str:
    """A unit with raised exponents: m² s⁻² for m2 s-2."""
    return re.sub(r"(?<=[A-Za-z])-?\d+", lambda exponent: exponent[0].translate(SUPERSCRIPTS), unit)


def titled(channel: str, unit: str) -> str:
    """A channel with its unit."""
    return f"{channel} [{typeset(unit)}]" if unit else channel


def legend_above(figure: Figure, axis: Axes) -> None:
    """One legend for all panels."""
    handles, labels = axis.get_legend_handles_labels()
    entry = 0.7 + 0.075 * max(map(len, labels), default=0)  # inches
    columns = max(1, min(len(labels), int(figure.get_figwidth() / entry)))
    figure.legend(handles, labels, loc="outside upper center", ncols=columns)

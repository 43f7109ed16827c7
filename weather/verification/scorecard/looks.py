"""How sources and leads look, the same in all figures of a scorecard."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weather.presentation.numbers import SUPERSCRIPTS
from weather.presentation.style import COLOURS, QUIET
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
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))

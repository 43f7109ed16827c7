"""How all figures look, and how they become bytes: colours that the colour-blind tell apart, no display, no clock."""

from __future__ import annotations

import contextlib
import functools
import io
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

from weather.errors import ConfigError
from weather.presentation.numbers import count, power

#: Okabe & Ito 2008, "Color Universal Design", without the yellow, which white paper swallows.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
QUIET = "#6b7280"
SETTINGS: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e7eb",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.edgecolor": "#4b5563",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.5,
    "svg.hashsalt": "weather",  # the same figure gives the same bytes
}
TICKS_OF_A_DECADE = (1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
DOTS_PER_INCH = 130
NOTE_LETTERS = 15  # of a note in an inch
LARGEST_SVG = 400_000  # bytes; a figure with more lines and points is shown as PNG
Arguments = ParamSpec("Arguments")


def styled(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """A function that draws a figure, made to draw it in SETTINGS.

    Raises:
        ConfigError: matplotlib is not installed.
    """

    @functools.wraps(draw)
    def drawn(*arguments: Arguments.args, **options: Arguments.kwargs) -> Figure:
        with settings():
            return draw(*arguments, **options)

    return drawn


def settings() -> contextlib.AbstractContextManager[None]:
    """SETTINGS, as long as it is open.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise ConfigError(
            "the figures need matplotlib", rule="it is of the extra 'plot'", fix="pip install -e '.[plot]'"
        ) from error
    return matplotlib.rc_context(SETTINGS)


def new_figure(rows: int, columns: int, *, width: float = 9.0, height: float = 4.2) -> tuple[Figure, np.ndarray]:
    """A figure of width times height inches, and its axes, shape [rows, columns]."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def note_below(figure: Figure, text: str) -> None:
    """A line below all panels that says what a figure shows, for who finds it without its page."""
    lines = textwrap.wrap(text.replace("$", r"\$"), int(NOTE_LETTERS * figure.get_figwidth()))
    with settings():
        figure.supxlabel("\n".join(lines), x=0.01, ha="left", multialignment="left", fontsize=8, color=QUIET)


def graded(number: int) -> list[Any]:
    """Colours for what rises, such as budgets: a part of viridis that white paper leaves visible."""
    import matplotlib

    return [matplotlib.colormaps["viridis"](x) for x in np.linspace(0.0, 0.85, max(number, 1))]


def plain_ticks(axis: Axes) -> None:
    """Labels on logarithmic axes that can be read: 0.7 and 20 k on y, few powers on x, where many would overlap."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    if not np.isfinite([axis.dataLim.minposx, axis.dataLim.minposy]).all():
        axis.set(xscale="linear", yscale="linear")  # nothing positive is there
        return
    low, high = axis.get_ylim()
    if axis.get_yscale() == "log" and high / low < 100:
        if high / low < 1.5:
            axis.yaxis.set_major_locator(MaxNLocator(nbins=6))
        else:
            axis.yaxis.set_major_locator(LogLocator(subs=TICKS_OF_A_DECADE if high / low < 15 else (1.0, 2.0, 5.0)))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))
        axis.yaxis.set_minor_formatter(NullFormatter())
    low, high = axis.get_xlim()
    if axis.get_xscale() == "log":
        axis.xaxis.set_minor_formatter(NullFormatter())
        if high / low < 20:
            axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < 5 else (1.0, 3.0)))
            axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: power(value, 1)))


def png(figure: Figure) -> bytes:
    """For the folder."""
    return _saved(figure, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})


def embedded(figure: Figure) -> tuple[str, bytes]:
    """(media type, bytes) for the page: sharp at every size where that is not too large."""
    vector = _saved(figure, format="svg", metadata={"Date": None, "Creator": None})
    return ("image/svg+xml", vector) if len(vector) <= LARGEST_SVG else ("image/png", png(figure))


def _saved(figure: Figure, **options: Any) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    file = io.BytesIO()
    with settings():
        figure.savefig(file, **options)
    figure.set_layout_engine("none")  # the places of axes are found; the next format takes them as they are
    return file.getvalue()

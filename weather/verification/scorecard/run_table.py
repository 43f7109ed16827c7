"""A model beside another run, on the console: difference of the RMSE with its interval, by channel and lead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from weather.verification.leads import describe_lead
from weather.verification.scorecard.estimates import Estimates
from weather.verification.scores import Interval

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

#: What an interval of a difference says, and what it does not.
CHANCE = (
    "*: the {coverage:.0%} interval of the difference, paired over initial times, excludes 0; where two runs do not "
    "differ, about {chance:.0%} of pairs have a star all the same. The chance is that of the weather; what another "
    "seed of training would give, only another run can say"
)
#: Columns that a narrow terminal goes without, in this order.
OPTIONAL = ("acc", "interval", "rmse")


def run_tables(found: Estimates, run: str, channels: Sequence[int], leads: Sequence[int]) -> list[Table]:
    """The table of a run, the widest first."""
    columns = [name for name in OPTIONAL if name != "interval" or found.has_intervals]
    return [_build(found, run, channels, leads, set(columns[begin:])) for begin in range(len(columns) + 1)]


def verdict_line(found: Estimates, run: str) -> str:
    """Whether the model is better than another run, in one line."""
    verdict, scores = found.verdict(run), found.scores
    of = len(scores.channels) * len(scores.lead_hours)
    without = f", at {verdict.without} a forecast blew up" if verdict.without else ""
    if not found.has_intervals:
        return f"{of} pairs of channel and lead; without intervals none tells a difference from chance{without}"
    return (
        f"of {of} pairs of channel and lead, the model's RMSE is shown to be lower at {verdict.better} and higher at "
        f"{verdict.worse}; chance is not excluded at {verdict.unsure}{without}"
    )


def chance_line(found: Estimates) -> str:
    """What a star means."""
    return CHANCE.format(coverage=found.coverage, chance=1 - found.coverage)


def _build(found: Estimates, run: str, channels: Sequence[int], leads: Sequence[int], optional: set[str]) -> Table:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    scores = found.scores
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True)
    table.add_column("channel", no_wrap=True)
    names = ["lead"]
    names += ["RMSE\nmodel", "RMSE\nother"] if "rmse" in optional else []
    names += ["difference\nof RMSE"]
    names += [f"{found.coverage:.0%}\ninterval"] if "interval" in optional else []
    names += ["relative\n"]
    names += ["ACC\nmodel", "ACC\nother"] if "acc" in optional else []
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    rmse, acc = ([found.metrics[source, name] for source in (scores.sources[0], run)] for name in ("rmse", "acc"))
    difference, differs = found.differences[run, "rmse"], found.differs(run)
    for c in channels:
        for at in leads:
            index = (0, at, c)
            cells: list[str | Text] = [escape(scores.channels[c]), describe_lead(scores.lead_hours[at])]
            if "rmse" in optional:
                cells += [digits(each.estimate[index]) for each in rmse]
            cells.append(_signed(difference.estimate[index]))
            if "interval" in optional:
                cells.append(bounds(difference, index, _signed))
            cells.append(_relative(found, run, index, bool(differs[index])))
            if "acc" in optional:
                cells += [f"{value:.3f}" if np.isfinite(value) else "-" for value in (e.estimate[index] for e in acc)]
            table.add_row(*cells, end_section=at == leads[-1])
    return table


def digits(value: float) -> str:
    """Four digits; a score that is not finite holds a forecast that blew up."""
    return f"{value:#.4g}".rstrip(".") if np.isfinite(value) else "blew up"


def bounds(interval: Interval, index: tuple[int, ...], write: Callable[[float], str]) -> str:
    """Such as 1.2 to 1.4; a dash where there is no interval."""
    low, high = interval.low[index], interval.high[index]
    return f"{write(low)} to {write(high)}" if np.isfinite(low) and np.isfinite(high) else "-"


def _signed(value: float) -> str:
    if not np.isfinite(value):
        return "-"
    return f"{value:+.0f}" if abs(value) >= 1000 else f"{value:+#.3g}".rstrip(".")


def _relative(found: Estimates, run: str, index: tuple[int, ...], differs: bool) -> Text:
    """Difference in percent of the other's RMSE, with a star and a colour where chance is excluded."""
    from rich.text import Text

    percent = 0.0 - 100 * found.skill[run][index]
    if not np.isfinite(percent):
        return Text("-")
    style = ("green" if percent < 0 else "red") if differs else ""
    return Text(f"{percent:+.2f}%{'*' if differs else ' '}", style=style)

"""The scorecard on the console: one table of the headline channels, as wide as the terminal allows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from weather.verification.leads import describe_initial_times, describe_lead
from weather.verification.scorecard.estimates import Estimates
from weather.verification.scorecard.headline import MOST_LEADS, headline_channels, spread_leads
from weather.verification.scorecard.origin import Origin
from weather.verification.scorecard.run_table import bounds, chance_line, digits, run_tables, verdict_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

SHORT = {"persistence": "persist.", "climatology": "climatol."}


def print_scorecard(
    found: Estimates, origin: Origin, *, all_channels: bool = False, console: Console | None = None
) -> None:
    """RMSE of model and baselines over the globe, the model's skill against each, and its ACC, by channel and lead;
    then the model beside each other run.

    Args:
        all_channels: every channel and lead instead of the headline.
        console: where to; None: standard output.
    """
    from rich.console import Console
    from rich.text import Text

    scores = found.scores
    console = console or Console(highlight=False)
    channels = headline_channels(scores.channels, None if all_channels else len(headline_channels(scores.channels)))
    leads = list(range(len(scores.lead_hours))) if all_channels else spread_leads(len(scores.lead_hours), MOST_LEADS)
    shouts = list(blown_up(found))
    for line in shouts:
        console.print(Text(line, style="bold white on red"))
    console.print(Text(f"{origin.run}, step {origin.step}: {initial_times(found)}", style="bold"))
    console.print(_table(found, channels, leads, console))
    for line in _legend(found, channels, leads):
        console.print(line, markup=False)
    for run in found.runs:
        other = f": {origin.others[run].describe()}" if run in origin.others else ""
        console.print(Text(f"\nbeside {run}{other}", style="bold"))
        console.print(_fitting(run_tables(found, run, channels, leads), console))
        console.print(verdict_line(found, run), markup=False)
    if found.runs and found.has_intervals:
        console.print(chance_line(found), markup=False)
    for warning in (*scores.remarks, *origin.warnings):
        console.print(f"warning: {warning}", markup=False)
    for line in shouts:
        console.print(Text(line, style="bold white on red"))


def initial_times(found: Estimates) -> str:
    """How many, and from when to when where the archive has time stamps."""
    scores = found.scores
    if scores.initial_times is None:
        return f"{scores.samples} initial time{'s' * (scores.samples != 1)}"
    return describe_initial_times(scores.initial_times)


def blown_up(found: Estimates) -> Iterator[str]:
    """A line where forecasts are not finite."""
    scores = found.scores
    for number, source in enumerate(scores.sources):
        bad = {describe_lead(h): int(n) for h, n in zip(scores.lead_hours, scores.blown_up[number], strict=True) if n}
        if bad:
            whose = f" OF {source}" if number else ""
            by_lead = ", ".join(f"{number} at {lead}" for lead, number in bad.items())
            yield (
                f"FORECASTS{whose} BLEW UP: of {scores.samples} are not finite {by_lead}; scores that hold them have "
                "no value"
            )


def _table(found: Estimates, channels: Sequence[int], leads: Sequence[int], console: Console) -> Table:
    """With as many columns as fit: intervals go first, then the baselines' RMSE, which skill says too."""
    widest = _build(found, channels, leads, intervals=found.has_intervals, references=True)
    narrower = (
        _build(found, channels, leads, intervals=False, references=True),
        _build(found, channels, leads, intervals=False, references=False),
    )
    return _fitting([widest, *narrower], console)


def _fitting(tables: Sequence[Table], console: Console) -> Table:
    """The first that no column of is cut, else the last."""
    unbounded = console.options.update(width=1000)
    fitting = (table for table in tables if console.measure(table, options=unbounded).maximum <= console.width)
    return next(fitting, tables[-1])


def _build(
    found: Estimates, channels: Sequence[int], leads: Sequence[int], *, intervals: bool, references: bool
) -> Table:
    from rich import box
    from rich.table import Table

    scores = found.scores
    short = [SHORT.get(name, name) for name in found.baselines]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True)
    table.add_column("channel", no_wrap=True)
    names = ["lead", "RMSE\nmodel"] + [f"{found.coverage:.0%}\ninterval"] * intervals
    names += [f"RMSE\n{name}" for name in short] * references
    names += [f"skill vs\n{name}" for name in short] + ["ACC"]
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    rmse, acc = (found.metrics[scores.sources[0], name] for name in ("rmse", "acc"))
    for c in channels:
        for place, at in enumerate(leads):
            index = (0, at, c)
            # The unit stands below the channel's name, where there is a row for it.
            cells = [_name(scores.channels[c], scores.units[c], place, len(leads))]
            cells += [describe_lead(scores.lead_hours[at]), digits(rmse.estimate[index])]
            if intervals:
                cells.append(bounds(rmse, index, digits))
            if references:
                cells += [digits(found.metrics[b, "rmse"].estimate[index]) for b in found.baselines]
            skills = [_skill(found.skill[b][index], bool(found.differs(b)[index])) for b in found.baselines]
            correlation = acc.estimate[index]
            last = f"{correlation:.3f}" if np.isfinite(correlation) else "-"
            table.add_row(*cells, *skills, last, end_section=at == leads[-1])
    return table


def _name(channel: str, unit: str, place: int, rows: int) -> str:
    if rows == 1:
        return f"{channel} [{unit}]".replace("[", r"\[") if unit else channel
    if place == 0:
        return channel
    return rf"\[{unit}]" if place == 1 and unit else ""


def _skill(value: float, differs: bool) -> Text:
    """Percent by which the RMSE is less than the baseline's; a star and a colour where that is shown."""
    from rich.text import Text

    if not np.isfinite(value):
        return Text("-")
    style = ("green" if value > 0 else "red") if differs else ""
    return Text(f"{100 * value:+.1f}%{'*' if differs else ' '}", style=style)


def _legend(found: Estimates, channels: Sequence[int], leads: Sequence[int]) -> Iterator[str]:
    scores = found.scores
    if found.baselines:
        star = f"; *: the {found.coverage:.0%} interval of the difference excludes 0" if found.has_intervals else ""
        yield f"skill: by how much the RMSE is below the baseline's{star}"
    if not found.has_intervals:
        yield "no intervals: they need ten initial times or more, and --bootstrap above 0"
    if "climatology" in scores.sources:
        yield f"climatology: {scores.climatology}"
    counts = (("channels", channels, scores.channels), ("leads", leads, scores.lead_hours))
    left_out = [f"{len(of) - len(shown)} of {len(of)} {what}" for what, shown, of in counts if len(shown) < len(of)]
    if left_out:
        yield f"not shown: {' and '.join(left_out)} (--all_channels shows them; the files have all)"

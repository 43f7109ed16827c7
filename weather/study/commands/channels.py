"""``weather.scaling channels``: how each channel scales at each lead, and where the pooled loss misleads."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from weather.errors import ConfigError

CHANNELS_FILE = "channels.json"
FILE_WIDTH = 200  # of the table where it goes to no terminal


def add_parser(kinds: Any) -> None:
    """The subcommand's options."""
    channels = kinds.add_parser(
        "channels",
        help="fit laws to each channel at each lead",
        description="Fit the mean squared error of each channel at each lead as the loss is fitted, and say where the "
        "size that is best for the pooled loss is not the best for the channel. Needs runs.csv (weather.scaling "
        "collect) and skill.csv (weather.scaling verify).",
        epilog="example: python -m weather.scaling channels experiments/isoflop --plot channels.png",
        allow_abbrev=False,
    )
    add = channels.add_argument
    add("study", type=Path, help="folder of the study with runs.csv and skill.csv, or a table of runs as CSV")
    add("--skill", type=Path, metavar="FILE", help="table of skill (default: skill.csv beside the runs)")
    add("--split", default="test", choices=("train", "valid", "test"), help="of the skill (default: %(default)s)")
    add("--flops", type=float, metavar="C", help="budget to spend (default: the largest that was trained)")
    add("--level", type=float, default=0.9, metavar="P", help="of the intervals (default: %(default)s)")
    add(
        "--json", type=Path, metavar="FILE", help=f"where the result is written (default: {CHANNELS_FILE} of the study)"
    )
    add("--plot", type=Path, metavar="FILE", help="draw maps of channel by lead there, as PNG, PDF or SVG")
    channels.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Fit, print, and write.

    Raises:
        WeatherError: options or tables that cannot be used.
    """
    if not 0 < options.level < 1 or (options.flops is not None and not options.flops > 0):
        raise ConfigError(
            f"--level {options.level:g} --flops {options.flops}", rule="a level between 0 and 1, FLOPs greater than 0"
        )
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Table as ConsoleTable

    from weather.study.fits.channels import fit_channels
    from weather.study.results.channel_text import COLUMNS, channel_json, channel_lines, channel_rows
    from weather.study.results.skill import SKILL_FILE, channel_errors, read_skill
    from weather.study.results.table import read_table

    folder = options.study if options.study.is_dir() else options.study.parent
    table = read_table(folder / "runs.csv" if options.study.is_dir() else options.study)
    errors = channel_errors(table, read_skill(options.skill or folder / SKILL_FILE), options.split)
    columns = (TextColumn("fits"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("fits", total=None)
        scaling = fit_channels(
            errors,
            flops=options.flops,
            level=options.level,
            done=lambda fits, of: progress.update(bar, completed=fits, total=of),
        )
    console = Console() if sys.stdout.isatty() else Console(width=FILE_WIDTH)
    shown = ConsoleTable(title=f"{len(table.runs)} runs, {len(errors.channels)} channels, {len(errors.leads)} leads")
    for column in COLUMNS:
        shown.add_column(column, justify="left" if column == "channel" else "right")
    for row in channel_rows(scaling):
        shown.add_row(*row)
    console.print(shown)
    for line in channel_lines(scaling):
        print(line)
    for remark in table.remarks:
        print(f"note: {remark}")
    result = options.json or folder / CHANNELS_FILE
    result.write_text(json.dumps(channel_json(scaling), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    print(f"written: {result}")
    if options.plot is not None:
        _plot(options.plot, scaling)
    return 0


def _plot(path: Path, scaling: Any) -> None:
    from weather.study.report.channel_maps import draw_channel_maps

    try:
        figure = draw_channel_maps(scaling)
    except ImportError as error:
        raise ConfigError("the maps need matplotlib", rule="it is an extra", fix="pip install matplotlib") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    print(f"maps: {path}")

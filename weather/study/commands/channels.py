"""``weather.scaling channels``: how each channel scales at each lead, and where the pooled loss misleads."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from weather.config.shared_options import PRINTED, add_json
from weather.runtime.progress import progress_bar
from weather.study.commands.answer import tell, write_json
from weather.study.commands.named_study import STUDY_HELP, path_named
from weather.study.commands.table_options import add_most_epochs, check

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
        epilog="example: python -m weather.scaling channels synthetic --plot channels.png",
        allow_abbrev=False,
    )
    add = channels.add_argument
    add("table", type=path_named, metavar="STUDY|TABLE", help=f"{STUDY_HELP}; or a CSV file of runs")
    add("--skill", type=Path, metavar="FILE", help="table of skill (default: skill.csv beside the runs)")
    add("--split", default="test", choices=("train", "valid", "test"), help="of the skill (default: %(default)s)")
    add("--flops", type=float, metavar="C", help="budget to spend (default: the largest that was trained)")
    add_most_epochs(channels)
    add("--level", type=float, default=0.9, metavar="P", help="of the intervals (default: %(default)s)")
    add_json(channels)
    add("--plot", type=Path, metavar="FILE", help="draw maps of channel by lead there, as PNG, PDF or SVG")
    channels.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Fit, print, and write.

    Raises:
        WeatherError: options or tables that cannot be used.
    """
    check(options)
    from rich.console import Console
    from rich.table import Table as ConsoleTable

    from weather.study.fits.channels import fit_channels
    from weather.study.results.channel_text import COLUMNS, channel_json, channel_lines, channel_rows
    from weather.study.results.collection import RUNS_FILE
    from weather.study.results.skill import SKILL_FILE, channel_errors, read_skill
    from weather.study.results.study_table import find_study
    from weather.study.results.table import read_table

    inside = options.table.is_dir()
    if not inside:
        find_study(options.table)  # where nothing is, it says which studies there are
    folder = options.table if inside else options.table.parent
    table = read_table(folder / RUNS_FILE if inside else options.table, most_epochs=options.most_epochs)
    errors = channel_errors(table, read_skill(options.skill or folder / SKILL_FILE), options.split)
    with progress_bar("fitting") as done:
        scaling = fit_channels(errors, flops=options.flops, level=options.level, done=done)
    lines, record = [*channel_lines(scaling), *(f"note: {remark}" for remark in table.remarks)], channel_json(scaling)
    if inside:
        write_json(record, folder / CHANNELS_FILE)
        lines.append(f"written to {folder / CHANNELS_FILE}")
    if options.plot is not None:
        _plot(options.plot, scaling)
        lines.append(f"maps: {options.plot}")
    if options.json == PRINTED:
        write_json(record, PRINTED)
        return 0
    console = Console() if sys.stdout.isatty() else Console(width=FILE_WIDTH)
    shown = ConsoleTable(title=f"{len(table.runs)} runs, {len(errors.channels)} channels, {len(errors.leads)} leads")
    for column in COLUMNS:
        shown.add_column(column, justify="left" if column == "channel" else "right")
    for row in channel_rows(scaling):
        shown.add_row(*row)
    console.print(shown)
    tell(lines, record, options.json)
    return 0


def _plot(path: Path, scaling: Any) -> None:
    from weather.study.report.channel_maps import draw_channel_maps

    figure = draw_channel_maps(scaling)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)

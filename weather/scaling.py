"""Scaling studies: ``python -m weather.scaling fit runs.csv`` fits scaling laws to a table of runs, ``report STUDY``
shows all of a study on one page."""

from __future__ import annotations

import argparse

from weather.errors import command_line
from weather.study.commands import (
    calibrate,
    channels,
    collect,
    demo,
    fit,
    next,
    plan,
    predict,
    report,
    run,
    score,
    start,
    status,
    verify,
)

COMMANDS = (demo, run, plan, calibrate, start, status, collect, fit, predict, next, score, verify, channels, report)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    arguments = argparse.ArgumentParser(prog="python -m weather.scaling", description=__doc__, allow_abbrev=False)
    kinds = arguments.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(kinds)
    return arguments


@command_line
def main() -> int:
    options = parser().parse_args()
    return int(options.command(options))


if __name__ == "__main__":
    main()

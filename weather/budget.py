"""What an allocation buys: ``python -m weather.budget time_to_epochs --hours 4 --minutes_per_epoch 10``, and others.

A speed is given (--minutes_per_epoch, on one node) or measured (--run runs/NAME); nothing is guessed.
"""

from __future__ import annotations

import argparse

from weather.errors import command_line
from weather.study.budget import flops, slurm, table, times

COMMANDS = (times, table, slurm, flops)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    arguments = argparse.ArgumentParser(prog="python -m weather.budget", description=__doc__, allow_abbrev=False)
    kinds = arguments.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parsers(kinds)
    return arguments


@command_line
def main() -> int:
    options = parser().parse_args()
    return int(options.command(options))


if __name__ == "__main__":
    main()

"""Scaling studies: which size of model makes the most of a budget, and what the next run will come to.

  plan STUDY.yaml  sizes x budgets become runs, checked and costed      -> experiments/NAME/
  start NAME       trains them, here or under SLURM; again: it goes on  -> runs/, checkpoints/
  status NAME      what they are at, and the next command
  collect NAME     one row a run                                        -> runs.csv
  fit NAME         the laws, with intervals                             -> fit.json
  predict NAME     what a run will come to
  next NAME        the best run of a larger budget, registered before it is made; score compares
  verify NAME      forecasts by channel and lead; channels fits each    -> skill.csv, channels.json
  report NAME      all of it on one page                                -> report/report.html

`demo` does all of it at a small size. `run` is a study of another kind: experiments that each change one thing of a
config.
"""

from __future__ import annotations

import argparse
import functools

from weather.errors import ConfigError, command_line
from weather.study.commands import (
    calibrate,
    channels,
    collect,
    demo,
    fit,
    next_run,
    plan,
    predict,
    report,
    run,
    score,
    start,
    status,
    verify,
)

#: In the order of the work.
COMMANDS = (demo, plan, calibrate, run, start, status, collect, fit, predict, next_run, score, verify, channels, report)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    arguments = argparse.ArgumentParser(
        prog="python -m weather.scaling",
        description=__doc__,
        epilog="python -m weather.scaling COMMAND --help says more, with examples.",
        formatter_class=functools.partial(argparse.RawDescriptionHelpFormatter, max_help_position=18, width=110),
        allow_abbrev=False,
    )
    kinds = arguments.add_subparsers(required=True, metavar="COMMAND", title="commands")
    for command in COMMANDS:
        command.add_parser(kinds)
    return arguments


@command_line
def main() -> int:
    options = parser().parse_args()
    try:
        return int(options.command(options))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "scipy":
            raise
        raise ConfigError(
            "laws are fitted by scipy, which is not installed", fix="pip install -e '.[study]'"
        ) from error


if __name__ == "__main__":
    main()

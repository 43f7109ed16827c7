"""Compute, merge or check the statistics of an archive: ``python -m weather.statistics data/era5 --leads 6h,1d``."""

from __future__ import annotations

import argparse
from pathlib import Path

from weather.errors import ConfigError, command_line

DESCRIPTION = """\
Compute, merge or check the statistics of an archive.

Mean, standard deviation and range of each channel, from the training states alone and read once, in
float64; and, for --leads, of the differences x(t + lead) - x(t), which scale what a model of tendencies
forecasts. All states and grid points count alike, without area weights.

Written together into ARCHIVE/stats: global_means.npy, global_stds.npy, statistics.json (with counts, so
that archives can be merged without reading their states again). Nothing is replaced before all is read;
a run that was cut short goes on with the files that it had not finished.
"""

EXAMPLES = """\
examples:
  all over again, as after a year file was replaced:
    python -m weather.statistics data/era5
  with differences after 6 and 24 hours; leads that are there already are kept:
    python -m weather.statistics data/era5 --leads 6h,24h
  are those on disk those of the states? status 1 and how far off they are if not:
    python -m weather.statistics data/era5 --check
  the same scaling for two archives on one grid, from counts alone:
    python -m weather.statistics data/era5_1980s --merge data/era5_1990s
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    arguments = argparse.ArgumentParser(
        prog="python -m weather.statistics",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = arguments.add_argument
    add("archive", type=Path, metavar="ARCHIVE", help="folder with train/ valid/ test/ and stats/")
    add("--split", default="train", choices=("train", "valid", "test"),
        help="of another split than train they are shown, never written (default: %(default)s)")  # fmt: skip
    add("--leads", metavar="LEADS", help="of differences, in time steps (1,2,4) or in time (6h,12h,1d)")
    add("--workers", type=int, metavar="N",
        help="files read at once, each with 512 MB of states or four of them (default: the usable cores, "
        "8 at most)")  # fmt: skip
    what = arguments.add_mutually_exclusive_group()
    what.add_argument("--merge", nargs="+", type=Path, metavar="ARCHIVE",
                      help="add the statistics of these archives to those of the first; no state is read")  # fmt: skip
    what.add_argument(
        "--check", action="store_true", help="compare what is on disk with the states; nothing is written"
    )
    add("--json", type=Path, metavar="FILE", help="write what is shown as JSON too")
    return arguments


@command_line
def main() -> int:
    options = parser().parse_args()
    if (options.merge or options.check) and (options.leads or options.split != "train"):
        raise ConfigError(
            "--leads and --split say what is computed",
            where="--merge" if options.merge else "--check",
            rule="what is on disk of the training split is taken, at the leads that it has",
            fix="compute first, without it",
        )
    from weather.data.statistics_command import check_statistics, compute_statistics, merge_statistics

    if options.merge:
        return merge_statistics(options.archive, options.merge, options.json)
    if options.check:
        return check_statistics(options.archive, options.workers, options.json)
    return compute_statistics(options.archive, options.split, options.leads, options.workers, options.json)


if __name__ == "__main__":
    main()

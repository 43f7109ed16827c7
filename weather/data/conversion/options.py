"""The command line of a conversion."""

from __future__ import annotations

import argparse
import math
import re

from weather.data.conversion.request import (
    Request,
    parse_fill,
    parse_levels,
    parse_select,
    parse_split,
    parse_variables,
)
from weather.errors import ConfigError

DESCRIPTION = """\
Make an archive (train/ valid/ test/ with one HDF5 file a year, stats/, provenance.json) out of gridded data.

SOURCE is a file, a folder or a glob of NetCDF 3 or 4, Zarr 2 or 3 (WeatherBench 2 and ARCO layout among them) or
GRIB 1 or 2, or the URL of a Zarr store: gs://, s3://, https:// (pip install aiohttp gcsfs s3fs). Variables may be in
one file or in many, by variable, year or month: they are joined by time. They are read lazily, in bounded memory.
Names are those of ERA5, CF, WeatherBench 2 or GRIB: 2m_temperature, 2t and t2m are one.

Rows of the archive run from north to south, columns of a global grid from 0 to 360 degrees east. Units stay as they
are and are written down. A state has all channels: times that one variable lacks, and missing steps, are gaps.
Statistics are those of the training states alone, taken while they are written.
"""

EXAMPLES = """\
examples:
  what would be made, and how large:
    python -m weather.convert era5/*.nc data/era5 --variables t2m msl z --levels 500 850 --dry-run
  forty years of WeatherBench 2, four files at once:
    python -m weather.convert wb2.zarr data/era5 --variables z t u v q t2m msl --levels 500 700 850 \\
        --years 1979-2016 --valid_years 2017 --test_years 2018 --workers 4
  the same from where it is published; a server gives more to more workers:
    python -m weather.convert gs://weatherbench2/datasets/era5/1959-2023_01_10-6h-64x32_equiangular_conservative.zarr \\
        data/era5 --variables z t u v q t2m msl --levels 500 700 850 --years 1979-2016 --valid_years 2017 \\
        --test_years 2018 --workers 4
  a coarser grid by area means, with land-sea mask and orography, and sea surface temperature filled over land:
    python -m weather.convert era5.zarr data/coarse --variables t2m sst --static lsm orography \\
        --resolution 1.5 --fill nearest
  a short sample, renamed:
    python -m weather.convert winds.cdf data/winds --variables UWND=u10 VWND=v10 --split 0.7,0.15,0.15
  one member of an ensemble in GRIB:
    python -m weather.convert members.grib data/member --select number=0 --split 0.5,0.25,0.25

The same command goes on after an interruption of any kind: whole files are kept, and of a file that was begun the
blocks that are on the disk, if --memory and --workers are the same (else that file is begun again). Statistics are
the same as without the interruption. What a server does not answer is asked for again, for about a minute. Exit
status: 0 complete, 75 stopped by a signal in good order, else failed.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    arguments = argparse.ArgumentParser(
        prog="python -m weather.convert",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = arguments.add_argument
    add(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="files, folders, Zarr stores, their URLs, or globs; they and OUT come first",
    )
    add("archive", metavar="OUT", help="folder of the archive")
    what = arguments.add_argument_group("what is converted")
    add = what.add_argument
    add(
        "--variables",
        nargs="+",
        default=[],
        metavar="NAME",
        help="in the order of the channels; NAME=NEW renames, FILE:NAME=NEW takes it from files of that name, z500 is "
        "one level (default: all that have a time)",
    )
    add(
        "--levels",
        nargs="+",
        default=[],
        metavar="LEVEL",
        help="for variables with levels, pressures in hPa (default: all)",
    )
    add("--static", nargs="+", default=[], metavar="NAME", help="constant fields for static.h5 (default: none)")
    add(
        "--resolution",
        default="",
        metavar="DEGREES|ROWSxCOLUMNS",
        help="another grid: area means where coarser, linear interpolation where finer (default: the source's grid)",
    )
    add(
        "--step_hours",
        type=float,
        default=0.0,
        metavar="H",
        help="only states at multiples of this from midnight (default: all)",
    )
    add(
        "--select",
        nargs="+",
        default=[],
        metavar="DIM=VALUE",
        help="which entry of a further dimension: number=0, step=6 (hours) (default: refused with the choices)",
    )
    split = arguments.add_argument_group(
        "which states train, validate and test (default: the last year tests, the one before validates)"
    )
    add = split.add_argument
    add(
        "--years",
        nargs="+",
        default=[],
        metavar="YEARS",
        help="1979-2016, for training if the other splits have years (default: all)",
    )
    add("--valid_years", nargs="+", default=[], metavar="YEARS", help="(default: see above)")
    add("--test_years", nargs="+", default=[], metavar="YEARS", help="(default: see above)")
    add("--valid_from", default="", metavar="DATE", help="instead of years: the first day that validates")
    add("--test_from", default="", metavar="DATE", help="and the first that tests")
    add(
        "--split",
        default="",
        metavar="A,B,C",
        help="instead of years: shares of the states in order of time; 1,0,0 makes an archive of training states alone",
    )
    mend = arguments.add_argument_group("what is missing or unsaid in the sources")
    add = mend.add_argument
    add(
        "--fill",
        default="refuse",
        metavar="RULE",
        help="missing values: refuse, mean (area mean of the field's others), nearest (on the sphere), or a number "
        "(default: %(default)s). With --resolution a new cell is missing if more than half of it is",
    )
    add(
        "--drop_missing",
        action="store_true",
        help="leave out, as gaps, states with values that --fill cannot fill (all of a field missing, or any if it "
        "is 'refuse'); the sources are then read twice",
    )
    add("--time_units", default="", metavar="UNITS", help="of a time without units: 'hours since 1940-01-01'")
    add("--level_units", default="", metavar="UNITS", help="of levels without units: hPa, Pa, sigma or model")
    how = arguments.add_argument_group("how")
    add = how.add_argument
    add(
        "--memory",
        default="2GB",
        metavar="SIZE",
        help="that all processes together stay below, with MB or GB (default: %(default)s)",
    )
    add(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes, each of which writes files of its own (default: %(default)s)",
    )
    add("--chunked", action="store_true", help="one chunk a state instead of the contiguous layout")
    add(
        "--leads",
        type=_leads,
        default=(),
        metavar="STEPS",
        help="also take statistics of differences at these leads in time steps, such as 1,4 (default: none; "
        "python -m weather.statistics adds them later)",
    )
    add("--overwrite", action="store_true", help="replace what another conversion has written to OUT")
    add("--dry-run", dest="dry_run", action="store_true", help="say what would be made; nothing is written")
    return arguments  # fmt: skip


def _leads(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", text):
        raise argparse.ArgumentTypeError(f"{text!r}: whole numbers of time steps above 0, such as 1,4")
    return tuple(int(part) for part in text.split(","))


def request_of(options: argparse.Namespace) -> Request:
    """What a command line asks for.

    Raises:
        ConfigError: it cannot be understood.
    """
    if options.workers < 1:
        raise ConfigError(f"{options.workers}", where="--workers", rule="at least 1")
    if not (options.step_hours == 0 or 1 / 60 <= options.step_hours < math.inf):
        raise ConfigError(f"{options.step_hours:g}", where="--step_hours", rule="hours, at least a minute")
    return Request(
        sources=tuple(options.sources),
        variables=parse_variables(options.variables),
        levels=parse_levels(options.levels),
        static=parse_variables(options.static, "--static"),
        split=parse_split(
            {"train": options.years, "valid": options.valid_years, "test": options.test_years},
            {"valid": options.valid_from, "test": options.test_from},
            options.split,
        ),
        resolution=options.resolution,
        fill=parse_fill(options.fill),
        drop_missing=options.drop_missing,
        chunked=options.chunked,
        step_hours=options.step_hours,
        select=parse_select(options.select),
        time_units=options.time_units,
        level_units=options.level_units,
    )

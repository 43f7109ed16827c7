"""Write an archive of synthetic weather: ``python -m weather.synthesize --data_dir data/synthetic``."""

from __future__ import annotations

import argparse
import inspect
import logging
import sys

from weather.data.quasigeostrophic import CHANNELS
from weather.data.synthetic import create_test_data
from weather.errors import command_line
from weather.runtime.progress import progress_bar

DESCRIPTION = f"""\
Write an archive of synthetic weather, to try everything out before real data is at hand.

The weather comes from a two-layer quasi-geostrophic model of the atmosphere: jets, Rossby waves and
cyclones that are chaotic, so that a forecast can be good for days and never for weeks. It has no
moisture and no diurnal cycle. Every year file is a trajectory of its own from 1 January; training,
validation and test years cover the same season unless whole years are asked for.

Channels (--channels): {" ".join(f"{name} [{unit}]" for name, unit in CHANNELS.items())}
"""

EXAMPLES = """\
examples:
  the default (8 channels, 64 x 128, 4 years of 100 days; some 10 seconds):
    python -m weather.synthesize --data_dir data/synthetic
  four channels on a coarse grid:
    python -m weather.synthesize --data_dir data/small --height 32 --width 64 --channels 4
  whole years, leap years included, three of them to train:
    python -m weather.synthesize --data_dir data/years --train_years 3 --states_per_year 0
  the grid of ERA5, poles included:
    python -m weather.synthesize --data_dir data/quarter --height 721 --width 1440 --states_per_year 40
It is safe to run again: a complete archive is left as it is, an incomplete one is written anew, one
made with other arguments is refused unless --overwrite is given.
"""

NUMBERS = {
    "height": "latitudes; an odd number has both poles",
    "width": "longitudes",
    "train_years": "year files to train with",
    "valid_years": "year files to validate with",
    "test_years": "year files to test with",
    "states_per_year": "states in a file; 0: whole calendar years",
    "first_year": "the first training year",
    "step_hours": "hours between states",
    "seed": "another seed, other weather",
    "truncation": "highest wavenumber of the model",
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="python -m weather.synthesize",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    result.add_argument("--data_dir", default="data/synthetic", help="folder of the archive (default: %(default)s)")
    result.add_argument("--channels", nargs="+", metavar="NAME", help="names, or how many (default: all)")
    defaults = inspect.signature(create_test_data).parameters
    for name, text in NUMBERS.items():
        result.add_argument(f"--{name}", type=int, default=defaults[name].default, metavar="N",
                            help=f"{text} (default: %(default)s)")  # fmt: skip
    result.add_argument(
        "--overwrite", action="store_true", help="replace a synthetic archive made with other arguments"
    )
    return result


@command_line
def main() -> None:
    arguments = vars(parser().parse_args())
    channels = arguments["channels"]
    if channels and len(channels) == 1 and channels[0].isdecimal():
        arguments["channels"] = int(channels[0])
    arguments["states_per_year"] = arguments["states_per_year"] or None
    with progress_bar("simulating weather", unit="days") as progress:
        # Within the bar, which redirects stdout so that a message is not wiped away with it.
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
        create_test_data(**arguments, progress=progress)


if __name__ == "__main__":
    main()

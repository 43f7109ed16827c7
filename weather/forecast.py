"""Forecasts of a trained model as files that xarray opens: ``python -m weather.forecast --run runs/local ...``."""

from __future__ import annotations

import argparse
from pathlib import Path

from weather.config.shared_options import add_restored_model
from weather.errors import EXIT_BLOWN_UP, EXIT_COMPLETE, command_line

DESCRIPTION = """\
Write forecasts of a trained model to Zarr or NetCDF, laid out as WeatherBench 2 expects them and with
the attributes of the CF conventions: one variable for each physical variable (2m_temperature,
geopotential, ...) with dimensions time (of the initial state), number (member, in an ensemble),
prediction_timedelta (lead), level (where there are levels), latitude, longitude.

A killed command goes on where it was when it is given again; the file has its name once it is complete.
A forecast that blows up is written as it is and reported; the exit status is then 3.
"""
EXAMPLES = """\
examples:
  ten days from one state, every lead of the model:
    python -m weather.forecast --run runs/local --init 2020-01-01T00 --leads 10d --out forecast.zarr
  some leads from every 12 hours of a month, on two ranks:
    torchrun --nproc-per-node 2 -m -- weather.forecast --run runs/local \\
        --init 2020-01-01/2020-01-31/12h --leads 1d,3d,5d --out january.nc
  an ensemble of perturbed initial states, with its scores and an animation:
    python -m weather.forecast --run runs/local --init 2020-01-01T00 --leads 10d --members 20 \\
        --perturbation 0.02 --length_km 1000 --out ensemble.zarr --verify --animate z500
  an ensemble of two checkpoints of two runs:
    python -m weather.forecast --run runs/a runs/b --checkpoint best last --init 2020-01-01 --leads 5d \\
        --out four.nc
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    arguments = argparse.ArgumentParser(
        prog="python -m weather.forecast",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = arguments.add_argument
    add("--run", required=True, type=Path, nargs="+", metavar="DIR", help="folder of the run; several: an ensemble")
    add("--checkpoint", "--checkpoints", default=["best"], nargs="+", metavar="WHICH",
        help="best, last, or a path; several of each run: an ensemble (default: best)")  # fmt: skip
    add("--init", required=True, metavar="TIMES", help="initial times, such as 2020-01-01T00, separated by commas, or "
        "FROM/TO/EVERY such as 2020-01-01/2020-01-31/12h; the archive has a state at each")  # fmt: skip
    add("--leads", required=True, metavar="LEADS", help="the longest lead, such as 10d; or several, such as 6h,1d,3d")
    add("--every", metavar="LEAD", help="write every such lead up to the longest (default: each of the model's own)")
    add("--step", metavar="LEAD", help="lead of one forecast, of a model with data.random_leads (default: data.dt)")
    add("--out", required=True, type=Path, metavar="FILE", help="forecast.zarr or forecast.nc")
    add("--overwrite", action="store_true", help="replace the output of another command (default: refuse)")
    add("--zarr_format", type=int, default=2, choices=(2, 3), help="2 is what WeatherBench 2 has (default: 2)")
    add("--data_dir", metavar="DIR", help="another archive with the same grid and channels (default: the run's)")
    add("--members", type=int, metavar="N", help="members of all models together (default: one for each)")
    add("--perturbation", type=float, default=0.0, metavar="SHARE",
        help="add noise to the initial state of all members but the first, with so many standard deviations; "
        "it is no optimal perturbation (default: none)")  # fmt: skip
    add("--perturbation_scale", default="state", choices=("state", "difference"),
        help="deviations of a channel's states, or of its change within one forecast (default: state)")  # fmt: skip
    add("--length_km", type=float, default=1000.0, metavar="KM",
        help="correlation length of the noise, 0: white (default: %(default)s)")  # fmt: skip
    add("--seed", type=int, default=0, metavar="N", help="of the noise (default: %(default)s)")
    add("--verify", action="store_true", help="score the ensemble where the archive has the truth")
    add("--animate", metavar="CHANNEL", help="draw a forecast of this channel, such as z500, as an animation")
    add("--animation", type=Path, metavar="FILE", help=".gif or .mp4 (default: beside the forecast, .gif)")
    add_restored_model(arguments)
    return arguments


@command_line
def main() -> int:
    options = parser().parse_args()
    from weather.forecasting.command import forecast
    from weather.runtime.collectives import stop_process_group

    sound = forecast(options)
    stop_process_group()
    return EXIT_COMPLETE if sound else EXIT_BLOWN_UP


if __name__ == "__main__":
    main()

"""Verify a run's forecasts: ``python -m weather.evaluate --run runs/local``.

Scores of the model, of persistence and of climatology for each channel, in physical units, at the lead that the model
was trained for or at longer ones, which it reaches by forecasting from its own forecast; a figure with truth, forecast
and error; and JSON:
``{channel: {lead_hours: {model | persistence | climatology: {rmse, mae, bias, acc}}}}``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from weather.errors import command_line


def parser() -> argparse.ArgumentParser:
    """The command line."""
    arguments = argparse.ArgumentParser(
        prog="python -m weather.evaluate",
        description="Verify a run's forecasts against persistence and climatology.",
        epilog="examples: python -m weather.evaluate --run runs/local --leads 6h,1d,3d; "
        "on two ranks: torchrun --nproc-per-node 2 -m -- weather.evaluate --run runs/local",
        allow_abbrev=False,
    )
    add = arguments.add_argument
    add("--run", required=True, type=Path, metavar="DIR", help="folder of the run, such as runs/local")
    add("--checkpoint", default="best", metavar="WHICH", help="best, last, or a path (default: %(default)s)")
    add("--split", default="test", choices=("train", "valid", "test"), help="what to verify on (default: %(default)s)")
    add(
        "--leads",
        metavar="LEADS",
        help="hours or days, multiples of the model's own lead, such as 6h,1d,3d; all are verified from the initial "
        "times that have truth at the longest (default: the model's own)",
    )
    add(
        "--baselines",
        default="persistence,climatology",
        metavar="NAMES",
        help="what to verify beside the model; none for nothing (default: %(default)s)",
    )
    add(
        "--climatology",
        default="auto",
        choices=("auto", "window", "harmonic"),
        help="by day of year and hour with a 61-day window, or fitted with few harmonics (default: the window where "
        "the training years suffice)",
    )
    add("--regions", metavar="NAMES", help="such as global,tropics (default: all that the grid reaches)")
    add("--init_every", metavar="HOURS", help="initial times at multiples of this since 00 UTC only, such as 12h")
    add("--most", type=int, metavar="N", help="at most so many initial times, evenly spread (default: all)")
    add("--bootstrap", type=int, default=1000, metavar="N", help="resamples for intervals; 0: none (default: 1000)")
    add("--no-spectra", action="store_true", help="compute no zonal power spectra")
    add("--step", metavar="LEAD", help="lead of one forecast, of a model with data.random_leads (default: data.dt)")
    add("--data_dir", metavar="DIR", help="another archive with the same grid and channels")
    add("--device", default="auto", metavar="D", help="auto, cuda, rocm, mps or cpu (default: %(default)s)")
    add("--precision", metavar="P", help="auto, bf16, fp16 or fp32 (default: the run's)")
    add("--batch_size", type=int, default=4, metavar="N", help="forecasts at once (default: %(default)s)")
    add("--json", type=Path, metavar="FILE", help="scores (default: RUN/scores_SPLIT.json)")
    add("--plot", type=Path, metavar="FILE", help="maps at the first lead (default: RUN/plots/forecast_SPLIT.png)")
    add("--map_time", metavar="TIME", help="initial time of the maps, such as 2020-01-31T06 (default: the middle)")
    add("--all_channels", action="store_true", help="print all channels and leads, not the headline only")
    add("--no-plot", action="store_true", help="draw no figures (they need matplotlib)")
    add("--no-html", action="store_true", help="write no page (it needs jinja2)")
    return arguments


@command_line
def main() -> int:
    options = parser().parse_args()
    from weather.runtime.collectives import stop_process_group
    from weather.training.evaluation import evaluate
    from weather.training.scorecard import make_scorecard
    from weather.verification.leads import parse_leads
    from weather.verification.scorecard.example import parse_time
    from weather.verification.scorecard.outputs import Wanted
    from weather.verification.scores import parse_baselines

    map_time = None if options.map_time is None else parse_time(options.map_time)
    evaluation = evaluate(
        options.run,
        checkpoint=options.checkpoint,
        split=options.split,
        data_dir=options.data_dir,
        device=options.device,
        precision=options.precision,
        batch_size=options.batch_size,
        leads=None if options.leads is None else parse_leads(options.leads),
        baselines=parse_baselines(options.baselines),
        regions=None if options.regions is None else options.regions.split(","),
        climatology=options.climatology,
        spectra=not options.no_spectra,
        replicates=options.bootstrap,
        init_every=None if options.init_every is None else parse_leads(options.init_every)[0],
        most=options.most,
        step=None if options.step is None else parse_leads(options.step)[0],
    )
    stop_process_group()
    if not evaluation.first_rank:
        return 0
    wanted = Wanted(
        scores=options.json or options.run / f"scores_{options.split}.json",
        figures=options.run / "plots",
        forecast=options.plot or options.run / "plots" / f"forecast_{options.split}.png",
        split=options.split,
        draw=not options.no_plot,
        page=not options.no_html,
        all_channels=options.all_channels,
    )
    make_scorecard(evaluation, wanted, map_time)
    return 0


if __name__ == "__main__":
    main()

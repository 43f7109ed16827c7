"""Verify a run's forecasts: ``python -m weather.evaluate --run runs/local``.

Scores of the model, of persistence and of climatology for each channel, in physical units, at the lead that the model
was trained for or at longer ones, which it reaches by forecasting from its own forecast: on the console, as JSON
``{channel: {lead_hours: {model | persistence | climatology: {rmse, mae, bias, acc}}}}``, as CSV, in figures and a page.
Other runs can stand beside it, each under its name.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from weather.config.shared_options import add_restored_model, written_file
from weather.errors import command_line
from weather.verification.options import add_verification_options, verification_settings

EXAMPLES = """\
examples:
  three leads, beside persistence and climatology:
    python -m weather.evaluate --run runs/local --leads 6h,1d,3d
  the same on two ranks:
    torchrun --nproc-per-node 2 -m -- weather.evaluate --run runs/local --leads 6h,1d,3d
  is one run better than two others, and is it more than chance?
    python -m weather.evaluate --run runs/large --leads 1d,3d \\
        --baselines persistence,climatology,runs/small,runs/large_wide
  has a run become better since an earlier checkpoint?
    python -m weather.evaluate --run runs/local --checkpoint last \\
        --baselines runs/local@checkpoints/local/checkpoint_epoch_2
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    arguments = argparse.ArgumentParser(
        prog="python -m weather.evaluate",
        description="Verify a run's forecasts against persistence, climatology and other runs.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_verification_options(arguments)
    add = arguments.add_argument
    add("--run", required=True, type=Path, metavar="DIR", help="folder of the run, such as runs/local")
    add("--checkpoint", default="best", metavar="WHICH", help="best (lowest validation loss, of the longest rollout "
        "if the run has any, else over all random leads), last, or a path (default: %(default)s)")  # fmt: skip
    add("--split", default="test", choices=("train", "valid", "test"), help="what to verify on (default: %(default)s)")
    add("--data_dir", metavar="DIR", help="another archive with the same grid and channels")
    add_restored_model(arguments)
    add("--json", type=written_file, metavar="FILE", help="scores (default: RUN/scores_SPLIT.json)")
    add(
        "--plot",
        type=written_file,
        metavar="FILE",
        help="maps at the first lead (default: RUN/plots/forecast_SPLIT.png)",
    )
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
    from weather.verification.scorecard.example import parse_time
    from weather.verification.scorecard.outputs import Wanted

    map_time = None if options.map_time is None else parse_time(options.map_time)
    evaluation = evaluate(
        options.run,
        checkpoint=options.checkpoint,
        split=options.split,
        data_dir=options.data_dir,
        device=options.device,
        precision=options.precision,
        batch_size=options.batch_size,
        **verification_settings(options),
    )
    stop_process_group()
    if not evaluation.first_rank:
        return 0
    wanted = Wanted.of_run(
        options.run,
        options.split,
        scores=options.json,
        forecast=options.plot,
        draw=not options.no_plot,
        page=not options.no_html,
        all_channels=options.all_channels,
    )
    make_scorecard(evaluation, wanted, map_time)
    return 0


if __name__ == "__main__":
    main()

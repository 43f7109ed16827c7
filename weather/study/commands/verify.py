"""``weather.scaling verify``: scores of the forecasts of every finished run of a study."""

from __future__ import annotations

import argparse
from typing import Any

from weather.config.shared_options import add_device, add_forecasts_at_once
from weather.errors import ConfigError, LaunchError
from weather.study.commands.named_study import add_study_argument, study_named


def add_parser(kinds: Any) -> None:
    """The subcommand's options."""
    verify = kinds.add_parser(
        "verify",
        help="verify the forecasts of a study's finished runs",
        description="Verify branches and lone runs that are trained to their end, one after the other, and write "
        "RUN/scores_SPLIT.json and the study's skill.csv. Runs that have these scores are kept, so that it may be "
        "interrupted, and called again as runs finish. Scores from weather.evaluate, on many ranks too, serve as well.",
        epilog="example: python -m weather.scaling verify synthetic --leads 6h,1d,3d",
        allow_abbrev=False,
    )
    add = verify.add_argument
    add_study_argument(verify)
    add(
        "--leads",
        metavar="LEADS",
        help="hours or days, multiples of the models' own lead, such as 6h,1d,3d (default: the models' own)",
    )
    add("--split", default="test", choices=("train", "valid", "test"), help="what to verify on (default: %(default)s)")
    add("--checkpoint", default="last", choices=("last", "best"), help="of each run (default: %(default)s)")
    add_device(verify)
    add_forecasts_at_once(verify)
    verify.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Verify and say what became of the runs; 1 where one failed.

    Raises:
        WeatherError: options or a folder that cannot be used.
    """
    if options.batch_size < 1:
        raise ConfigError(f"--batch_size {options.batch_size}", rule="at least 1")
    from weather.runtime.ranks import find_ranks
    from weather.study.results.skill import SKILL_FILE
    from weather.study.results.verification import verify_study
    from weather.verification.leads import parse_leads

    ranks = find_ranks().world_size
    if ranks > 1:
        raise LaunchError(
            f"{ranks} ranks",
            rule="verify is one process",
            fix="start weather.evaluate --run RUN --checkpoint last on them for each run; verify takes its scores",
        )
    folder = study_named(options.study)
    outcome = verify_study(
        folder,
        leads=None if options.leads is None else parse_leads(options.leads),
        split=options.split,
        checkpoint=options.checkpoint,
        device=options.device,
        batch_size=options.batch_size,
        report=lambda line: print(line, flush=True),
    )
    print(
        f"{len(outcome.scored)} verified, {len(outcome.kept)} kept, {len(outcome.unfinished)} not finished, "
        f"{len(outcome.failed)} failed"
    )
    for name, reason in outcome.failed.items():
        print(f"failed: {name}: {reason}")
    if outcome.rows:
        print(f"skill: {folder.path / SKILL_FILE}, {len(outcome.rows)} rows")
    return 1 if outcome.failed else 0

"""``weather.scaling plan``: the runs of a compute-optimal study, checked and costed before anything starts."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from weather.config.shared_options import add_device, add_json
from weather.study.commands.answer import tell
from weather.study.commands.table_options import check

EXAMPLES = """\
examples:
  what the study on synthetic weather would train, and what that costs:
    python -m weather.scaling plan configs/studies/synthetic.yaml --no-write
  plan it, with the time that it will take on this machine:
    python -m weather.scaling plan configs/studies/synthetic.yaml --probe
  a study for a cluster, at a rate measured there (python -m weather.bench step):
    python -m weather.scaling plan configs/studies/era5.yaml --flops_per_second 2e13

Plan again after adding larger budgets to the file: what has begun goes on, trunks grow. A change that would make a
begun run another one is refused.
"""


def add_parser(kinds: Any) -> None:
    """The subcommand's options."""
    plan = kinds.add_parser(
        "plan",
        help="plan a compute-optimal study from its YAML file",
        description="Turn a study's YAML file into runs: sizes x budgets x seeds, each checked and costed; write the "
        "folder experiments/<study>/ with plan.json, plan.csv and a config for every run.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = plan.add_argument
    add("study", type=Path, metavar="STUDY.yaml", help="description of the study, as in configs/studies/")
    add("--experiments", type=Path, metavar="DIR", help="folder of all studies (default: experiments)")
    rate = plan.add_mutually_exclusive_group()
    rate.add_argument("--probe", action="store_true", help="time some real steps of each size on this device")
    rate.add_argument("--flops_per_second", type=float, metavar="R", help="training FLOPs a second of one device")
    add_device(plan, of="--probe")
    add_json(plan)
    add("--no-write", action="store_true", help="only print; what --probe measures is kept all the same")
    plan.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Plan, print, write.

    Raises:
        WeatherError: a description that cannot be planned, or a begun study that it contradicts.
    """
    check(options)
    rate = options.flops_per_second
    from weather.study.design.plan_text import plan_json, plan_lines
    from weather.study.design.planning import make_plan, write_plan
    from weather.study.design.probe import probe_plan, probe_source, read_probe, with_rate
    from weather.study.design.study_file import read_description
    from weather.study.folder import EXPERIMENTS, StudyFolder

    description = read_description(options.study)
    folder = StudyFolder((options.experiments or EXPERIMENTS) / description.name)
    plan = make_plan(description, folder)
    if rate is not None:
        plan = with_rate(plan, lambda _: rate)
    elif options.probe:
        plan = probe_plan(plan, folder.path, device=options.device)
    source = f"at {rate:.4g} FLOP/s a device" if rate is not None else probe_source(read_probe(folder.path))
    lines = list(plan_lines(plan, source))
    if not options.no_write:
        write_plan(plan, folder)
        lines.append(f"written to {folder.path}; start it: python -m weather.scaling start {folder.path}")
    tell(lines, plan_json(plan), options.json)
    return 0

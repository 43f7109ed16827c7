"""``weather.scaling run``: one-factor experiments, derived from a base config, checked, costed and trained."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weather.config.shared_options import PRINTED, add_json, add_overrides
from weather.study.commands.answer import write_json
from weather.study.execution.options import add_execution_options, executor_from

if TYPE_CHECKING:
    from weather.config.wrapper import ConfigWrapper
    from weather.study.planned import StudyPlan

EPILOG = """types:
  model       layers and heads; the head width stays, the width follows
  embedding   width alone, to the nearest that the heads divide
  sequence    past states that the model is given
  resolution  the grid, coarsened while it is read (data.coarsen_by: area_mean, bilinear or stride)
  batch       global batch; the learning rate grows with its square root
  data        share of the training samples, even over the years
  temporal    the last part of the training years
  precision   factors are codes: 0 fp32, 1 fp16, 2 bf16
  node        nodes, with the same global batch
  memory      every attention kernel x recomputation x precision; factors play no part
  devices     ranks: strong scaling (same batch) and weak scaling (batch grows with them)

The factor 1 is the base itself, trained once for all types. Given again, the command goes on: finished runs are kept,
failed ones are shown and started again with --retry. A run that has begun and would now be another one is refused.

examples:
  python -m weather.scaling run --base_config_name local --scale_types model batch --scale_factors 0.5 1 2 --dry-run
  python -m weather.scaling run --base_config_name base --scale_types node devices --scale_factors 1 2 4 \\
      --strategy deepspeed --devices_per_node 8 --executor slurm --sbatch="-A project -t 2:00:00" --set max_steps=100
"""


def add_parser(kinds: Any) -> None:
    """The subcommand's options."""
    arguments = kinds.add_parser(
        "run",
        help="experiments that change one thing of a base config each: derive and train them",
        description="Derive runs that each differ from a base config in one thing only, check and cost all of them "
        "before anything starts, write them to experiments/STUDY/, and train them.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = arguments.add_argument
    add("--base_config", metavar="FILE", help="YAML file with named configs (default: configs/configs.yaml)")
    add("--base_config_name", metavar="NAME", default="base", help="which of them (default: %(default)s)")
    add("--scale_types", nargs="+", required=True, metavar="TYPE", help="what is varied; see below")
    add(
        "--scale_factors",
        nargs="+",
        type=float,
        default=[0.5, 1.0, 2.0, 4.0],
        metavar="X",
        help="of each type (default: 0.5 1 2 4)",
    )
    add("--num_nodes", type=int, default=1, metavar="M", help="nodes of the base (default: %(default)s)")
    add("--devices_per_node", type=int, default=1, metavar="N", help="ranks on each (default: %(default)s)")
    add("--memory_gigabytes", type=float, metavar="G", help="of one device: runs that need more are flagged")
    add("--strategy", metavar="NAME", help="parallel strategy of the base and all its runs (default: the config's)")
    add("--experiments", type=Path, metavar="DIR", help="folder of all studies (default: experiments)")
    add_json(arguments)
    add("--name", metavar="STUDY", help="of the study and its folder (default: base config and types)")
    add_overrides(arguments)
    add_execution_options(arguments, planned=False)
    arguments.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Plan, print, and unless it is a dry run write and train.

    Raises:
        WeatherError: a request, a base config or an archive that cannot be used.
    """
    from weather.config.files import load_config
    from weather.study.design.factors import plan_factors
    from weather.study.design.plan_text import plan_json
    from weather.study.design.variation import Machine
    from weather.study.folder import EXPERIMENTS, StudyFolder

    executor = executor_from(options)
    strategy = [f"training.strategy={options.strategy}"] if options.strategy else []
    config = load_config(options.base_config, options.base_config_name, [*options.overrides, *strategy])
    name = options.name or "-".join([options.base_config_name, *dict.fromkeys(options.scale_types)])
    folder = StudyFolder((options.experiments or EXPERIMENTS) / _checked_name(config, name))
    machine = Machine(
        options.num_nodes,
        options.devices_per_node,
        options.device,
        options.memory_gigabytes,
        elsewhere=options.executor == "slurm",
    )
    plan = plan_factors(folder, config, types=options.scale_types, factors=options.scale_factors, machine=machine)
    if options.json != PRINTED:
        show(plan)
    write_json(plan_json(plan), options.json)
    if options.dry_run:
        if options.json != PRINTED:
            print(f"dry run: would write {len(plan.runs)} config(s) and the plan to {folder.path}, and train them")
        return 0
    from weather.study.execution.conductor import conduct

    folder.write_plan(plan)
    return conduct(folder, executor, retry=options.retry, wait=not options.no_wait)


def show(plan: StudyPlan) -> None:
    """Print a plan."""
    from rich.console import Console

    from weather.study.design.factor_table import flag_lines, impossible_table, run_table, totals

    console = Console()
    if not console.is_terminal:
        console = Console(width=180)  # a log file has room
    console.print(run_table(plan))
    if plan.impossible:
        console.print(impossible_table(plan))
    for remark in (*flag_lines(plan), *plan.remarks, totals(plan)):
        console.print(remark, markup=False, highlight=False)


def _checked_name(config: ConfigWrapper, name: str) -> str:
    """The name of a study, which a folder can have, like that of a run."""
    return str(config.replace({"experiment.name": name}).experiment.name)

"""Command-line options that make a config: those of every command, and all that a training takes."""

from __future__ import annotations

import argparse

from weather.config.debugging import load_debug_config
from weather.config.files import load_config
from weather.config.shared_options import add_device, add_local_rank, add_overrides
from weather.config.wrapper import ConfigWrapper


def add_config_options(parser: argparse.ArgumentParser, *, config_name: str = "base") -> None:
    """Add --config, --config_name and --set, for `load_config`, and --device, for `choose_device`.

    Args:
        config_name: the default.
    """
    add = parser.add_argument
    add("--config", metavar="FILE", help="YAML file with named configs (default: configs/configs.yaml)")
    add("--config_name", metavar="NAME", default=config_name, help="which of them (default: %(default)s)")
    add_overrides(parser)
    add_device(parser)


def train_parser() -> argparse.ArgumentParser:
    """The command line of `weather.train`."""
    arguments = argparse.ArgumentParser(
        prog="python -m weather.train",
        description="Train a weather transformer. A run that was stopped goes on when the same command is given again.",
        epilog="example: python -m weather.train --config_name local --set training.epochs=2 --set data.data_dir=DIR",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = arguments.add_argument
    add_config_options(arguments)
    add("--strategy", metavar="NAME", help="parallel strategy (overrides training.strategy)")
    add("--precision", metavar="P", help="auto, bf16, fp16 or fp32 (overrides training.precision)")
    add("--devices", type=int, metavar="N", help="ranks on each node: started here, or those of the launcher")
    add(
        "--num_nodes",
        type=int,
        metavar="M",
        help="nodes; must agree with the launcher (without one: NODE_RANK, MASTER_ADDR)",
    )
    add("--deepspeed_config", metavar="FILE", help="JSON file of strategy deepspeed (training.deepspeed_config)")
    add("--flops_budget", metavar="F", help="stop at this many training FLOPs (training.flops_budget)")
    add("--time_budget", metavar="HOURS", help="stop after these hours (training.time_budget_hours)")
    add(
        "--walltime",
        metavar="TIME",
        help="save and stop in time for this job to end: hours, H:MM:SS or D-HH:MM:SS from now; "
        "under SLURM the end of the job is known (SLURM_JOB_END_TIME)",
    )
    add(
        "--check-gradients",
        metavar="N",
        help="for N steps name the parameters whose gradient is missing, zero or not finite (training.check_gradients)",
    )
    add(
        "--resume",
        default="auto",
        metavar="WHAT",
        help="auto: from the newest checkpoint if there is one; never; or the path of a checkpoint",
    )
    add(
        "--debug",
        action="store_true",
        help="for a debugger: one process and thread, anomaly detection, 3 steps of 2 samples, shapes and gradients of "
        "the first; a run called NAME-debug, which replaces the last one of that name",
    )
    add("--list-configs", action="store_true", help="list the named configs and end")
    add("--print-config", action="store_true", help="print the config as it would be used and end")
    add_local_rank(arguments)
    return arguments


def config_from(options: argparse.Namespace) -> ConfigWrapper:
    """The config with all that the command line overrides."""
    values = {
        "training.strategy": options.strategy,
        "training.precision": options.precision,
        "training.deepspeed_config": options.deepspeed_config,
        "training.flops_budget": options.flops_budget,
        "training.time_budget_hours": options.time_budget,
        "training.check_gradients": options.check_gradients,
    }
    overrides = [f"{key}={value}" for key, value in values.items() if value is not None]
    load = load_debug_config if options.debug else load_config
    return load(options.config, options.config_name, [*options.overrides, *overrides])

"""Train a run: ``python -m weather.train --config_name local`` or ``torchrun --nproc-per-node 2 -m weather.train ...``.

Exit status: 0 the run is complete, 75 stopped in good order (start the same command again to go on), else failed.
"""

from __future__ import annotations

import argparse
import functools
import time

import yaml

from weather.config.debugging import load_debug_config
from weather.config.files import find_config_file, load_config, read_configs
from weather.config.options import add_config_options
from weather.config.wrapper import ConfigWrapper
from weather.errors import ConfigError, command_line
from weather.runtime.debugging import check_debug_start
from weather.runtime.launch import start_ranks
from weather.runtime.nodes import Nodes, find_nodes
from weather.runtime.stop import StopSignals
from weather.runtime.walltime import find_deadline


def parser() -> argparse.ArgumentParser:
    """The command line."""
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
    add("--local_rank", "--local-rank", type=int, help=argparse.SUPPRESS)  # passed by the DeepSpeed launcher
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


def list_configs(path: str | None) -> None:
    """Print the name and description of every config."""
    file = find_config_file(path)
    for name in read_configs(file):
        config = load_config(file, name)
        print(f"{name:16} {config.experiment.description}")


def nodes_to_start(options: argparse.Namespace, config: ConfigWrapper) -> Nodes | None:
    """The nodes on which `--devices` asks for ranks that no launcher has started, if it does.

    Raises:
        LaunchError: what a launcher started is not what the options ask for.
        ConfigError: several ranks with a strategy for one. It is not replaced: the config would say one thing, the
            run do another.
    """
    nodes = find_nodes(local_rank=options.local_rank, devices=options.devices, num_nodes=options.num_nodes)
    if nodes is None or config.training.strategy != "single":
        return nodes
    if options.devices * nodes.count > 1:
        raise ConfigError(
            f"--devices {options.devices} with strategy 'single'",
            where="training.strategy",
            rule="several ranks need a parallel strategy",
            fix="add --strategy ddp (or fsdp, deepspeed)",
        )
    return None


@command_line
def main() -> int:
    began = time.monotonic()
    options = parser().parse_args()
    deadline = find_deadline(options.walltime, began)
    with StopSignals() as signals:  # from the start: torch takes seconds to import, and a signal may come before
        return run(options, signals, deadline)


def run(options: argparse.Namespace, signals: StopSignals, deadline: float | None) -> int:
    """Do what the command line asks for; gives the exit status."""
    if options.list_configs:
        list_configs(options.config)
        return 0
    if options.debug:
        check_debug_start(
            local_rank=options.local_rank,
            devices=options.devices,
            num_nodes=options.num_nodes,
            resume=options.resume,
        )
    config = config_from(options)
    if options.print_config:
        print(yaml.safe_dump(config.to_dict(), sort_keys=False), end="")
        return 0
    nodes = nodes_to_start(options, config)
    if nodes is not None:
        patience = config.training.collective_timeout_minutes
        return start_ranks(options.devices, main, nodes=nodes, patience_minutes=patience, collects_signals=True)
    from weather.runtime.collectives import stop_process_group
    from weather.training.debugging import DebugTrainer
    from weather.training.trainer import WeatherTrainer

    trainer_class = DebugTrainer if options.debug else functools.partial(WeatherTrainer, resume=options.resume)
    trainer = trainer_class(
        config,
        devices=options.devices,
        num_nodes=options.num_nodes,
        device=options.device,
        local_rank=options.local_rank,
        deadline=deadline,
    )
    result = trainer.train(signals)
    stop_process_group()
    return result.exit_status


if __name__ == "__main__":
    main()

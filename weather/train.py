"""Train a run: ``python -m weather.train --config_name local`` or ``torchrun --nproc-per-node 2 -m weather.train ...``.

Exit status: 0 the run is complete, 75 stopped in good order (start the same command again to go on), else failed.
"""

from __future__ import annotations

import argparse
import functools
import time

import yaml

from weather.config.files import find_config_file, load_config, read_configs
from weather.config.options import config_from, train_parser
from weather.config.wrapper import ConfigWrapper
from weather.errors import ConfigError, command_line
from weather.runtime.debugging import check_debug_start
from weather.runtime.launch import start_ranks
from weather.runtime.nodes import Nodes, find_nodes
from weather.runtime.stop import StopSignals
from weather.runtime.walltime import find_deadline


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
    options = train_parser().parse_args()
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

"""The command-line options by which every command names its config and device."""

from __future__ import annotations

import argparse


def add_config_options(parser: argparse.ArgumentParser, *, config_name: str = "base") -> None:
    """Add --config, --config_name and --set, for `load_config`, and --device, for `choose_device`.

    Args:
        config_name: the default.
    """
    add = parser.add_argument
    add("--config", metavar="FILE", help="YAML file with named configs (default: configs/configs.yaml)")
    add("--config_name", metavar="NAME", default=config_name, help="which of them (default: %(default)s)")
    add(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="overrides",
        help="override one value, such as training.learning_rate=3e-4 or data.data_dir=DIR; repeatable",
    )
    add("--device", default="auto", metavar="D", help="auto, cuda, rocm, mps or cpu (default: %(default)s)")

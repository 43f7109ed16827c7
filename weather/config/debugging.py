"""The config of a debug run: the same model, a few samples and steps, one thread, and a name of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from weather.config.files import load_config
from weather.config.wrapper import ConfigWrapper

SUFFIX = "-debug"

#: What a debug run changes, unless the command line says otherwise.
DEBUG_VALUES = {
    "training.max_steps": "3",
    "training.batch_size": "2",
    "training.micro_batch_size": "auto",
    "training.flops_budget": "null",
    "training.time_budget_hours": "null",
    "training.log_frequency": "1",
    "training.check_gradients": "3",
    "training.eval_frequency": "0",  # once, at the end
    "training.save_frequency": "0",
    "training.save_every_steps": "0",
    "training.save_every_minutes": "0",
    # Breakpoints work in the main thread; compiled blocks have none.
    "training.asynchronous_checkpoints": "false",
    "data.num_workers": "0",
    "model.compile": "none",
    "logging.use_wandb": "false",
    # One process; the options of other strategies would be refused.
    "training.strategy": "single",
    "training.shard_size": "null",
    "training.reshard_after_forward": "true",
    "training.cpu_offload": "false",
    "training.deepspeed_config": "null",
}


def load_debug_config(path: Path | str | None, name: str, overrides: Sequence[str]) -> ConfigWrapper:
    """Config `name` as a debug run: `DEBUG_VALUES`, then `overrides`, then name and checkpoint folder of its own.

    Those of the real run are out of its reach, whatever `overrides` call it.

    Raises:
        ConfigError: as `load_config`.
    """
    values = [f"{key}={value}" for key, value in DEBUG_VALUES.items()]
    config = load_config(path, name, [*values, *overrides])
    own = str(config.experiment.name).removesuffix(SUFFIX) + SUFFIX
    return config.replace(
        {"experiment.name": own, "training.checkpoint_dir": str(Path(config.experiment.runs_dir) / own / "checkpoints")}
    )

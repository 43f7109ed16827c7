"""Trains several runs one after the other in the same ranks, so that a matrix of runs pays for one start of Python.

    torchrun --nproc-per-node 2 -m tests.distributed.many RUNS.json

RUNS.json lists ``{"settings": ["key=value", ...], "resume": "auto" or a path}``; configs.yaml lies in the folder it is
started from.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from weather.config.files import load_config
from weather.runtime.collectives import stop_process_group
from weather.training.trainer import WeatherTrainer


def main() -> None:
    for run in json.loads(Path(sys.argv[1]).read_text()):
        config = load_config("configs.yaml", "tiny", run["settings"])
        print(f"--- {config.experiment.name}", flush=True)
        WeatherTrainer(config, device="cpu", resume=run["resume"]).train()
    stop_process_group()


if __name__ == "__main__":
    main()

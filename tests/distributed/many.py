"""Trains several runs one after the other in the same ranks, so that a matrix of runs pays for one start of Python.

    torchrun --nproc-per-node 2 -m tests.distributed.many RUNS.json

RUNS.json lists ``{"settings": ["key=value", ...], "resume": "auto" or a path, "stop_at": step or 0, "stop_by":
"signal" or "walltime"}``; configs.yaml lies in the folder it is started from.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

from weather.config.files import load_config
from weather.runtime.collectives import stop_process_group
from weather.runtime.stop import StopSignals
from weather.training.monitor import Requests
from weather.training.trainer import WeatherTrainer


class Trainer(WeatherTrainer):
    """Is asked to stop in a step that is told beforehand, by a real signal or by a walltime that is suddenly over."""

    stop_at, stop_by = 0, "signal"

    def _requests(self, signals: StopSignals) -> Requests:
        if self.progress.step == self.stop_at:
            if self.stop_by == "walltime":
                self.clock.deadline = 0.0
            else:
                signal.raise_signal(signal.SIGTERM)
        return super()._requests(signals)


def main() -> None:
    for run in json.loads(Path(sys.argv[1]).read_text()):
        config = load_config("configs.yaml", "tiny", run["settings"])
        print(f"--- {config.experiment.name}", flush=True)
        trainer = Trainer(config, device="cpu", resume=run["resume"])
        trainer.stop_at, trainer.stop_by = run["stop_at"], run["stop_by"]
        trainer.train()
    stop_process_group()


if __name__ == "__main__":
    main()

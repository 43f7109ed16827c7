"""A study of tiny runs, planned by hand: one trunk, its branches, runs that are alone, one that must fail."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.archives import write_archive
from tests.distributed.runs import descendants
from weather.config.wrapper import ConfigWrapper
from weather.study.folder import StudyFolder
from weather.study.planned import PlannedRun, RunCost, StudyPlan

MODEL = {"embed_dim": 8, "num_layers": 1, "num_heads": 1, "patch_size": 4}
TRAINING = {"batch_size": 4, "epochs": 500, "warmup_steps": 2, "eval_frequency": 0, "save_frequency": 0}
STEPS_PER_EPOCH = 6  # of 26 samples in batches of 4
PATIENCE_SECONDS = 90


@dataclass
class SmallStudy:
    """A study folder in `root`, which its commands run in.

    Attributes:
        runs: added so far.
    """

    root: Path
    runs: list[PlannedRun] = field(default_factory=list)
    conductors: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        write_archive(
            self.root / "archive", files={"train": (18, 10), "valid": (8,)}, channels=("t2m", "u10"), grid=(8, 16)
        )
        self.folder = StudyFolder(self.root / "experiments" / "small")

    def add(self, name: str, steps: int, *, data: str = "archive", **more: Any) -> None:
        """Plan a run; `settings` of `more` are its training's, others are of the `PlannedRun`."""
        settings = {**TRAINING, "max_steps": steps, **more.pop("settings", {})}
        config = ConfigWrapper({"model": MODEL, "data": {"data_dir": str(self.root / data)}, "training": settings})
        cost = RunCost(
            parameters=1000, non_embedding_parameters=800, tokens_per_sample=8, samples=4 * steps, unique_samples=26,
            steps=steps, flops=1000 * steps,
        )  # fmt: skip
        self.runs.append(PlannedRun(name, self.folder.placed(config, name), cost, {"size": name}, **more))

    def add_trunk(self, name: str, steps: int, branches: dict[str, tuple[int, int]], **settings: Any) -> None:
        """Plan a trunk and its branches: {name: (first step, steps)}."""
        saves = sorted(first for first, _ in branches.values())
        trunk = {"schedule": "constant", "save_at_steps": saves, "max_checkpoints": 1, **settings}
        self.add(name, steps, role="trunk", settings=trunk)
        for branch, (first, end) in branches.items():
            epoch, within = divmod(first, STEPS_PER_EPOCH)
            start = f"checkpoint_step_{first}" if within else f"checkpoint_epoch_{epoch}"
            cooldown = {
                "schedule": "wsd",
                "cooldown_fraction": (end - first) / end,
                "branch_from": str(self.folder.checkpoint_dir / name / start),
            }
            self.add(branch, end, role="branch", trunk=name, first_step=first, settings=cooldown)

    def write(self) -> StudyPlan:
        plan = StudyPlan("small", "budgets", {}, tuple(self.runs))
        self.folder.write_plan(plan)
        return plan

    def start(self, *options: str) -> subprocess.Popen[str]:
        """Start `weather.scaling start`; ended with the study."""
        process = subprocess.Popen(
            [sys.executable, "-m", "weather.scaling", "start", "small", "--device", "cpu", *options],
            cwd=self.root,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.conductors.append(process)
        return process

    def environment(self) -> dict[str, str]:
        repository = str(Path(__file__).parents[3])
        return {**os.environ, "PYTHONPATH": repository, "TERM": "dumb", "COLUMNS": "200"}

    def events(self, name: str, event: str) -> list[dict[str, Any]]:
        """Records of one kind of a run."""
        path = self.folder.run(name) / "metrics.jsonl"
        lines = path.read_text().rpartition("\n")[0].splitlines() if path.exists() else []
        return [record for record in map(json.loads, lines) if record["event"] == event]

    def steps(self, name: str) -> list[int]:
        return [record["step"] for record in self.events(name, "train")]

    def close(self) -> None:
        """End what still runs."""
        for process in self.conductors:
            if process.poll() is None:
                for pid in [process.pid, *descendants(process.pid)]:
                    os.kill(pid, signal.SIGKILL)
                process.communicate()


def wait_until(what: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Fails unless `what` becomes true in time."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"not in {seconds} s"
        time.sleep(0.02)

"""Starts real training processes on a tiny archive, kills them, and reads back what they left."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tests.archives import write_archive
from weather.training.checkpoint import complete_checkpoints, load_tensors
from weather.training.checkpoint_reader import TensorReader

CONFIG = """
tiny:
  model: {embed_dim: 16, num_layers: 2, num_heads: 2, patch_size: 4, predict: state}
  training: {batch_size: 4, epochs: 3, warmup_steps: 4, learning_rate: 3.0e-3, log_frequency: 1}
"""
PATIENCE_SECONDS = 120
REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Run:
    """One of many runs.

    Attributes:
        resume: where it begins, `auto` or the path of a checkpoint.
        stop_at: step in which it is asked to stop; 0: it is not.
        stop_by: how it is asked, by `signal` or by `walltime`.
    """

    name: str
    settings: tuple[str, ...]
    resume: str | Path = "auto"
    stop_at: int = 0
    stop_by: str = "signal"


@dataclass
class Workplace:
    """A folder with an archive and a config, in which runs are started.

    The archive has 26 training samples, 6 steps an epoch at batch 4, and 7 validation samples: neither divides evenly.
    """

    folder: Path
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        files = {"train": (18, 10), "valid": (8,), "test": (6,)}
        write_archive(self.folder / "archive", files=files, channels=("t2m", "u10"), grid=(8, 16))
        (self.folder / "configs.yaml").write_text(CONFIG)

    def command(self, name: str, *settings: str, ranks: int = 1, options: tuple[str, ...] = ()) -> list[str]:
        """Command line of a run called `name`; with more than one rank under torchrun with ddp."""
        strategy = "ddp" if ranks > 1 else "single"
        values = (f"experiment.name={name}", f"strategy={strategy}", "data.data_dir=archive", *settings)
        overrides = [word for value in values for word in ("--set", value)]
        config = ("--config", "configs.yaml", "--config_name", "tiny", "--device", "cpu")
        return [*launcher(ranks), "weather.train", *config, *overrides, *options]

    def start(self, name: str, *settings: str, **more: Any) -> subprocess.Popen[str]:
        """Start a run in a process group of its own and do not wait for it."""
        return self.start_command(self.command(name, *settings, **more))

    def start_command(self, command: list[str], **variables: str) -> subprocess.Popen[str]:
        """Start any command here, with more environment variables; it is ended with the workplace."""
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def run(self, name: str, *settings: str, status: int = 0, **more: Any) -> str:
        """Run to the end and give what it printed; fails unless it exits with `status`."""
        process = self.start(name, *settings, **more)
        output, _ = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == status, output
        return output

    def run_many(self, runs: list[Run], *, ranks: int) -> None:
        """Train several runs in the same processes, one after the other."""
        plan = [
            {
                "settings": [f"experiment.name={run.name}", "data.data_dir=archive", *run.settings],
                "resume": str(run.resume),
                "stop_at": run.stop_at,
                "stop_by": run.stop_by,
            }
            for run in runs
        ]
        (self.folder / "many.json").write_text(json.dumps(plan))
        done = subprocess.run(
            [*launcher(ranks), "tests.distributed.many", "many.json"],
            cwd=self.folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS + 10 * len(runs),
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start_and_kill(self, name: str, *settings: str, at_step: int, ranks: int = 1, **more: Any) -> None:
        """Start a run and kill all its processes with SIGKILL once it has logged `at_step`."""
        process = self.start(name, *settings, ranks=ranks, **more)
        self.wait_for_step(process, name, at_step)
        kill_tree(process)

    def wait_for_step(self, process: subprocess.Popen[str], name: str, step: int, event: str = "train") -> None:
        """Wait until a run has logged a training step, or another event at that step or later."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if any(record["step"] >= step for record in self.records(name, event)):
                return
            assert process.poll() is None, f"ended before step {step}: {process.communicate()[0]}"
            time.sleep(0.01)
        raise AssertionError(f"step {step} was not reached in {PATIENCE_SECONDS} s")

    def records(self, name: str, event: str) -> list[dict[str, Any]]:
        """Records of one kind from a run's metrics.jsonl, whole lines only."""
        path = self.folder / "runs" / name / "metrics.jsonl"
        if not path.exists():
            return []
        whole = path.read_text().rpartition("\n")[0]
        records = [json.loads(line) for line in whole.splitlines()]
        return [record for record in records if record["event"] == event]

    def losses(self, name: str) -> list[float]:
        """Training loss of every step in order; checks that each stands there once."""
        records = self.records(name, "train")
        assert [record["step"] for record in records] == list(range(1, len(records) + 1))
        return [record["loss"] for record in records]

    def partial(self, name: str) -> list[Path]:
        """Checkpoints that are being written, or that a killed run left half written."""
        return list((self.folder / "checkpoints" / name).glob("*.partial"))

    def newest(self, name: str) -> Path:
        """Newest checkpoint of a run."""
        return complete_checkpoints(self.folder / "checkpoints" / name)[-1].path

    def tensors(self, name: str) -> dict[str, torch.Tensor]:
        """All tensors of the newest checkpoint."""
        path = self.newest(name)
        state = {key: torch.zeros(shape) for key, shape in TensorReader(path).shapes().items()}
        load_tensors(path, state)
        return state

    def evaluate(self, name: str, scores: str, *options: str, ranks: int = 1) -> None:
        """Verify a run on the test split and write its scores."""
        # Without `--` torchrun takes --run for its own --run-path.
        words = [
            *["--"] * (ranks > 1),
            "weather.evaluate",
            "--run",
            f"runs/{name}",
            "--device",
            "cpu",
            "--no-plot",
            "--no-html",
            "--json",
            scores,
            *options,
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [*launcher(ranks), *words],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def close(self) -> None:
        """End what still runs."""
        for process in self.processes:
            if process.poll() is None:
                kill_tree(process)


def launcher(ranks: int) -> list[str]:
    """What stands before the module: python alone, or torchrun."""
    if ranks == 1:
        return [sys.executable, "-m"]
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", "-m"]


def kill_tree(process: subprocess.Popen[str]) -> None:
    """SIGKILL to a process and all that it started (torchrun gives its workers sessions of their own)."""
    signal_all([process.pid, *descendants(process.pid)], signal.SIGKILL)
    process.communicate()


def signal_all(pids: list[int], number: signal.Signals) -> None:
    """One signal to several processes; those that have ended by now are passed over."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def descendants(pid: int) -> list[int]:
    """Processes below `pid`."""
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = [tuple(map(int, line.split())) for line in listing.splitlines()]
    found, frontier = [], [pid]
    while frontier:
        frontier = [child for child, parent in parents if parent in frontier]
        found += frontier
    return found


def assert_same_bits(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    different = [name for name in one if not torch.equal(one[name], other[name])]
    assert not different, f"{len(different)} of {len(one)} tensors differ, such as {different[:3]}"

"""A study through a real SLURM: chains, arrays, a queue limit; what was submitted before is not submitted again."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from tests.cluster.slurm import Cluster, paused, task_process
from tests.study.execution.small_study import PATIENCE_SECONDS, SmallStudy
from weather.study.execution.records import read_attempts, read_lock

pytestmark = [pytest.mark.slow, pytest.mark.cluster]


def start(cluster: Cluster, study: SmallStudy, *options: str) -> subprocess.Popen[str]:
    words = ["--executor", "slurm", "--device", "cpu", *options]
    process = subprocess.Popen(
        [sys.executable, "-m", "weather.scaling", "start", "small", *words],
        cwd=study.root,
        env={**study.environment(), **cluster.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    study.conductors.append(process)
    return process


def conducts(study: SmallStudy, process: subprocess.Popen[str]) -> bool:
    """Whether a conductor has taken the study, and so minds signals."""
    lock = read_lock(study.folder.path)
    return lock is not None and lock[0] == process.pid


def test_a_study_through_slurm(cluster: Cluster) -> None:
    """Where requeueing is forbidden a trunk that is stopped ends well too early for SLURM, and its branches fail."""
    study = SmallStudy(cluster.workplace.folder / "study")
    study.add_trunk("t", 600, {"t-a": (594, 600), "t-b": (588, 592), "t-c": (6, 9)})
    study.write()
    options = ("--max_jobs", "3", "--sbatch=--no-requeue --time=30", "--poll_seconds", "0.5")
    submitted, _ = start(cluster, study, *options, "--no-wait").communicate(timeout=PATIENCE_SECONDS)
    queue = cluster.ask("squeue", "--me", "--noheader", "--array", "--format=%j %K %E").splitlines()
    trunk = str(read_attempts(study.folder, "t")[-1].job)
    chained = [line.split() for line in queue if ":branches " in line]
    assert len(queue) == 3 and sorted(number for _, number, _ in chained) == ["0", "1"], submitted
    assert all(after.startswith(f"afterok:{trunk}") for _, _, after in chained)
    process, most = start(cluster, study, *options), 0
    cluster.wait(trunk, lambda: bool(study.steps("t")))
    cluster.wait(trunk, lambda: conducts(study, process))
    with paused(task_process(trunk, 0)):  # however fast this machine is, the run is not over by then
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=PATIENCE_SECONDS)[0]
        assert process.returncode == 75 and "jobs stay in the queue" in output, output
        cluster.ask("scancel", "--batch", "--signal=USR1", trunk)
        cluster.wait(trunk, lambda: "SIGUSR1, passed on" in study.folder.log_file("t").read_text())
    process = start(cluster, study, *options)
    while process.poll() is None:
        most = max(most, len(cluster.ask("squeue", "--me", "--noheader", "--array").splitlines()))
        time.sleep(0.3)
    output = process.communicate()[0]
    assert process.returncode == 0, output
    assert most <= 3, "the limit of the queue"
    ends = {name: study.events(name, "stop")[-1]["step"] for name in ("t", "t-a", "t-b", "t-c")}
    assert ends == {"t": 600, "t-a": 600, "t-b": 592, "t-c": 9}
    log = study.folder.log_file("t").read_text()
    assert log.index("requeueing is forbidden; goes on as job") < log.index("the run is complete")
    assert [stop["reason"] for stop in study.events("t", "stop")] == ["signal", "max_steps"]
    attempts = {run.name: len(read_attempts(study.folder, run.name)) for run in study.runs}
    assert attempts.pop("t") == attempts.pop("t-c") == 1, "what was in the queue was not submitted again"
    assert [*attempts.values()] == [2, 2], output
    assert "the run is complete" in study.folder.log_file("t-a").read_text()

"""A study through a real SLURM: chains, arrays, a queue limit; what was submitted before is not submitted again."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from tests.cluster.slurm import Cluster
from tests.study.execution.small_study import PATIENCE_SECONDS, SmallStudy
from weather.study.execution.records import read_attempts

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


def test_a_study_through_slurm(cluster: Cluster) -> None:
    study = SmallStudy(cluster.workplace.folder / "study")
    study.add_trunk("t", 400, {"t-a": (396, 410), "t-b": (20, 26), "t-c": (6, 9)})
    study.write()
    submitted, _ = start(cluster, study, "--max_jobs", "3", "--no-wait").communicate(timeout=PATIENCE_SECONDS)
    queue = cluster.ask("squeue", "--me", "--noheader", "--array", "--format=%j %K %E").splitlines()
    assert len(queue) == 3, submitted
    trunk = read_attempts(study.folder, "t")[-1].job
    chained = [line.split() for line in queue if ":branches " in line]
    assert sorted(number for _, number, _ in chained) == ["0", "1"]
    assert all(after.startswith(f"afterok:{trunk}") for _, _, after in chained)
    again, _ = start(cluster, study, "--max_jobs", "3", "--no-wait").communicate(timeout=PATIENCE_SECONDS)
    assert "submitted" not in again, again
    process, most = start(cluster, study, "--max_jobs", "3", "--poll_seconds", "0.5"), 0
    while process.poll() is None:
        most = max(most, len(cluster.ask("squeue", "--me", "--noheader", "--array").splitlines()))
        time.sleep(0.3)
    output = process.communicate()[0]
    assert process.returncode == 0, output
    assert most <= 3 and "submitted" in output
    assert {name: study.events(name, "stop")[-1]["step"] for name in ("t", "t-a", "t-b", "t-c")} == {
        "t": 400,
        "t-a": 410,
        "t-b": 26,
        "t-c": 9,
    }
    assert all(len(read_attempts(study.folder, run.name)) == 1 for run in study.runs)
    assert "the run is complete" in study.folder.log_file("t-c").read_text()

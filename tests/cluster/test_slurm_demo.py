"""The small demo with SLURM for its executor: from an empty folder to the report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.slurm import Cluster
from tests.distributed.runs import REPOSITORY
from weather.study.execution.records import read_attempts
from weather.study.folder import StudyFolder

pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.timeout(900)]
OPTIONS = ("--executor", "slurm", "--device", "cpu", "--max_jobs", "2", "--sbatch=--time=30", "--poll_seconds", "0.5")


def test_a_whole_study_through_slurm(cluster: Cluster) -> None:
    root = Path(cluster.workplace.folder) / "demo"
    root.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "weather.scaling", "demo", "--small", *OPTIONS],
        cwd=root,
        env={**cluster.environment, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode in (0, 3), done.stdout + done.stderr
    folder = StudyFolder(root / "experiments" / "demo_small")
    plan = folder.read_plan()
    assert all(read_attempts(folder, run.name)[0].job for run in plan.runs), "each was a job"
    (following,) = (run for run in plan.runs if run.labels.get("next"))
    score = json.loads((folder.path / "predictions" / f"{following.name}.score.json").read_text())
    assert score["inside"] is (done.returncode == 0)
    assert (folder.path / "report" / "report.html").exists()

"""Tasks that are killed or cancelled from outside: the others end, the job says how, nothing is left running."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.cluster.slurm import LONG, Cluster, job_processes, task_process
from tests.distributed.runs import Workplace
from weather.training.checkpoint import complete_checkpoints

pytestmark = [pytest.mark.slow, pytest.mark.cluster]
GONE_SECONDS = 15


def test_when_a_nodes_tasks_are_killed_the_others_end(cluster: Cluster, workplace: Workplace) -> None:
    job = cluster.submit("killed", *LONG, options=("--ntasks-per-node=2",))
    cluster.wait_for_step(job, "killed", 5)
    second_node = [task_process(job, rank) for rank in (2, 3)]
    began = time.monotonic()
    for process in second_node:
        os.kill(process, signal.SIGKILL)
    output = cluster.finish(job, "FAILED")
    assert time.monotonic() - began < GONE_SECONDS
    assert "exit code 137" in output and "FAILED: srun ended with status 137" in output
    assert not job_processes(job)


def test_a_step_that_is_cancelled_fails_the_job(cluster: Cluster, workplace: Workplace) -> None:
    """`scancel JOB.STEP` is a SIGKILL to every task: what was saved before is what is left."""
    job = cluster.submit("cancelled", *LONG, "save_every_steps=2", options=("--ntasks-per-node=1",))
    cluster.wait(job, lambda: bool(workplace.records("cancelled", "checkpoint")))
    began = time.monotonic()
    cluster.ask("scancel", f"{job}.0")
    output = cluster.finish(job, "FAILED")
    assert time.monotonic() - began < GONE_SECONDS
    assert "FAILED: srun ended with status 137" in output
    saved = complete_checkpoints(workplace.newest("cancelled").parent)[-1].progress.step
    assert f"the run goes on from step {saved}" in output
    assert not job_processes(job)

"""An array of jobs: runs of their own, at the same time on the same nodes; one that comes back comes back alone."""

from __future__ import annotations

import pytest

from tests.cluster.slurm import LONG, Cluster
from tests.distributed.runs import Workplace, assert_same_bits

pytestmark = [pytest.mark.slow, pytest.mark.cluster]


def test_each_task_of_an_array_is_a_run_of_its_own(cluster: Cluster, workplace: Workplace, uninterrupted: str) -> None:
    """Seed 42 is that of the uninterrupted run; the job of the last task has the number of the whole array."""
    options = ("--array=40-42", "--ntasks-per-node=1", "--output=weather-%A_%a.out")
    array = cluster.submit("seed_%a", "training.seed=%a", *LONG, options=options)
    tasks = [f"{array}_{number}" for number in (40, 41, 42)]
    for number in (40, 41, 42):
        cluster.wait_for_step(tasks[-1], f"seed_{number}", 3)
    assert [cluster.state(task) for task in tasks] == ["RUNNING"] * 3, "at the same time"
    cluster.ask("scancel", "--batch", "--signal=USR1", tasks[-1])
    cluster.restart(tasks[-1])
    outputs = [cluster.finish(task) for task in tasks]
    assert [cluster.fact(task, "Restarts") for task in tasks] == ["0", "0", "1"]
    assert "requeues itself" in outputs[2] and "start 2 (SLURM_RESTART_COUNT 1)" in outputs[2]
    losses = [workplace.losses(f"seed_{number}") for number in (40, 41, 42)]
    assert losses[0] != losses[1] != losses[2]
    assert_same_bits(workplace.tensors("seed_42"), workplace.tensors(uninterrupted))

"""One task on each node, which starts the node's ranks: the same run, the same stops, each rank on its own cores."""

from __future__ import annotations

import os

import pytest

from tests.cluster.slurm import SHORT, Cluster, paused, task_process
from tests.distributed.runs import Workplace, assert_same_bits, descendants

pytestmark = [pytest.mark.slow, pytest.mark.cluster]
MODE = ("--single-task",)


def test_it_stops_comes_back_and_equals_a_torchrun_run(cluster: Cluster, workplace: Workplace, four_ranks: str) -> None:
    """Two nodes share this machine's cores here: the ranks of one must be apart."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    masks = [f"{1 << cores[0]:#x}", f"{1 << cores[-1]:#x}"]
    options = ("--ntasks-per-node=2",)
    options = ("--ntasks-per-node=2",)
    job = cluster.submit("single", *SHORT, options=options, mode=MODE, WEATHER_CPU_MASKS=",".join(masks))
    cluster.wait_for_step(job, "single", 3)
    starters = [task_process(job, node) for node in range(2)]
    ranks = [[child for child in descendants(starter) if os.getsid(child) == child] for starter in starters]
    with paused(ranks[0][0]):  # however fast this machine is, the run is not over by then
        assert [len(local) for local in ranks] == [2, 2]
        for local in ranks:
            assert sorted(sorted(os.sched_getaffinity(rank)) for rank in local) == sorted([cores[:1], cores[-1:]])
        cluster.ask("scancel", "--batch", "--signal=USR1", job)
        cluster.wait(job, lambda: "SIGUSR1, passed on" in cluster.output(job))
    cluster.restart(job)
    output = cluster.finish(job)
    assert "2 rank(s) in one task(s) a node" in output and "fsdp on 4 x cpu" in output
    assert "requeues itself" in output and "start 2 (SLURM_RESTART_COUNT 1)" in output
    assert [stop["reason"] for stop in workplace.records("single", "stop")] == ["signal", "complete"]
    assert workplace.losses("single") == workplace.losses(four_ranks)
    assert_same_bits(workplace.tensors("single"), workplace.tensors(four_ranks))


def test_a_failure_of_the_ranks_is_the_jobs(cluster: Cluster) -> None:
    options = ("--nodes=1", "--ntasks-per-node=2")
    output = cluster.finish(cluster.submit("wrong", "data.channels=[q700]", options=options, mode=MODE), "FAILED")
    assert output.count("no channel 'q700'") == 1 and "Traceback" not in output

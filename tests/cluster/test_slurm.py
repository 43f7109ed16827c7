"""Runs under a real SLURM of two nodes: they equal a torchrun run, come back by themselves, and know when to stop."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.slurm import LONG, SHORT, Cluster, paused, task_process
from tests.distributed.runs import REPOSITORY, Workplace, assert_same_bits

pytestmark = [pytest.mark.slow, pytest.mark.cluster]


def test_a_job_equals_a_torchrun_run(cluster: Cluster, workplace: Workplace, four_ranks: str) -> None:
    output = cluster.finish(cluster.submit("job", *SHORT, options=("--ntasks-per-node=2",)))
    assert "2 task(s) a node" in output and "fsdp on 4 x cpu" in output
    assert workplace.losses("job") == pytest.approx(workplace.losses(four_ranks), abs=1e-6)


def test_a_job_comes_back_after_its_walltime(
    cluster: Cluster, workplace: Workplace, request: pytest.FixtureRequest
) -> None:
    # SLURM looks at the walltimes twice a minute, so that this signal comes 45 to 15 seconds before the end.
    options = ("--ntasks-per-node=1", "--time=1", "--signal=B:USR1@15")
    job = cluster.submit("walltime", *LONG, options=options)
    cluster.wait_for_step(job, "walltime", 3)
    with paused(task_process(job, 0)):  # however fast this machine is, the run is not over by then
        uninterrupted = request.getfixturevalue("uninterrupted")
        cluster.wait(job, lambda: "SIGUSR1, passed on" in cluster.output(job))
    cluster.restart(job)
    # In the second start it would come again; there is nothing more to learn from that.
    cluster.ask("scontrol", "update", f"JobId={job}", "TimeLimit=10")
    output = cluster.finish(job)
    stops = workplace.records("walltime", "stop")
    # After the pause the steps seem so slow that the walltime may be near by the run's own count, too.
    assert [stop["reason"] for stop in stops] in (["signal", "complete"], ["walltime", "complete"]), output
    assert "requeues itself" in output and "start 2 (SLURM_RESTART_COUNT 1)" in output
    assert workplace.losses("walltime") == workplace.losses(uninterrupted)
    assert_same_bits(workplace.tensors("walltime"), workplace.tensors(uninterrupted))


def test_a_requeued_job_goes_on(cluster: Cluster, workplace: Workplace, uninterrupted: str) -> None:
    job = cluster.submit("requeued", *LONG, options=("--ntasks-per-node=1",))
    cluster.wait_for_step(job, "requeued", 20)
    cluster.ask("scontrol", "requeue", job)
    cluster.restart(job)
    output = cluster.finish(job)
    assert "so it is not requeued here" in output and "start 2 (SLURM_RESTART_COUNT 1)" in output
    assert cluster.fact(job, "Restarts") == "1"
    assert workplace.records("requeued", "resume")
    assert_same_bits(workplace.tensors("requeued"), workplace.tensors(uninterrupted))


def test_where_requeueing_is_forbidden_a_job_submits_itself_again(cluster: Cluster, workplace: Workplace) -> None:
    """And cancelled, the second job saves and stays away."""
    asked = ("--gres=gpu:2", "--constraint=nvme", "--mem=900", "--exclusive", "--time=30")
    job = cluster.submit("again", *LONG, options=("--ntasks-per-node=1", "--no-requeue", *asked))
    cluster.wait_for_step(job, "again", 5)
    cluster.ask("scancel", "--batch", "--signal=USR1", job)
    following = cluster.finish(job).split("goes on as job ")[1].split()[0]
    saved = workplace.records("again", "stop")[-1]["step"]
    for name in ("TresPerNode", "Features", "MinMemoryNode", "OverSubscribe", "TimeLimit", "NumTasks"):
        assert cluster.fact(following, name) == cluster.fact(job, name)
    assert [cluster.fact(job, name) for name in ("Features", "OverSubscribe")] == ["nvme", "NO"]
    cluster.wait_for_step(following, "again", saved + 5)
    cluster.ask("scancel", following)
    cluster.finish(following, "CANCELLED")
    assert workplace.records("again", "resume")[-1]["step"] == saved
    stop = workplace.records("again", "stop")[-1]
    assert stop["reason"] == "signal" and workplace.records("again", "checkpoint")[-1]["step"] == stop["step"]
    assert not cluster.ask("squeue", "--noheader")


def test_a_job_that_makes_no_progress_ends(cluster: Cluster, workplace: Workplace) -> None:
    """The interpreter is a stand-in that says "saved, start me again" whenever it is to train."""
    stand_in = workplace.folder / "python_that_stops"
    stand_in.write_text(
        "#!/usr/bin/env bash\n"
        '[[ "$*" != "-m weather.train"* || "$*" == *--print-config ]] || exit 75\n'
        f'exec {sys.executable} "$@"\n'
    )
    stand_in.chmod(0o755)
    job = cluster.submit("stuck", options=("--ntasks-per-node=1",), WEATHER_PYTHON=str(stand_in))
    output = cluster.finish(job, "FAILED")
    assert "no progress: the newest checkpoint is of step 0" in output
    assert cluster.fact(job, "Restarts") == "0"


# As srun repeats what launch/frontier_env.sh gives it.
FRONTIER_MASKS = "fe000000000000,fe00000000000000,fe0000,fe000000,fe,fe00,fe00000000,fe0000000000"


def told_on_frontier(cluster: Cluster, name: str, mode: tuple[str, ...] = ()) -> tuple[str, list[list[str]]]:
    """What each task of frontier.sbatch was given, in words.

    The interpreter and `module` are stand-ins: one shows what it was given, the other loads nothing.
    """
    stand_in = cluster.workplace.folder / "python_that_tells"
    told = "$SLURM_PROCID $SLURM_LOCALID $OMP_NUM_THREADS $NCCL_NET $(ls -d $MIOPEN_USER_DB_PATH) $SLURM_CPUS_PER_TASK"
    stand_in.write_text(
        "#!/usr/bin/env bash\n"
        '[[ "$*" != "-m weather.train"* || "$*" == *--print-config ]] || '
        f'{{ echo "task {told} ${{SLURM_CPU_BIND_LIST:-none}} $*"; exit; }}\n'
        f'exec {sys.executable} "$@"\n'
    )
    stand_in.chmod(0o755)
    variables = {
        "BASH_FUNC_module%%": '() { if [ "$1" = -t ]; then printf "%s\\n" $FRONTIER_MODULES; fi; }',
        "FRONTIER_MODULES": "rocm/7.1.1 rccl-net-plugin",
        "WEATHER_PYTHON": str(stand_in),
    }
    job = cluster.submit(name, script="frontier.sbatch", mode=mode, **variables)
    lines = cluster.finish(job).splitlines()
    return job, [line.split(maxsplit=8) for line in lines if line.startswith("task ")]


def test_an_environment_is_copied_to_the_nodes_own_disk(cluster: Cluster, workplace: Workplace, tmp_path: Path) -> None:
    """On one node, for both here have the same disk. In the archive, python is a script that names the real one."""
    packed, disk = tmp_path / "environment", tmp_path / "disk"
    (packed / "bin").mkdir(parents=True)
    disk.mkdir()
    python = packed / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (packed / "bin" / "conda-unpack").write_text(f"open({str(tmp_path / 'unpacked')!r}, 'w')")
    archive = shutil.make_archive(str(packed), "gztar", packed)
    variables = {"WEATHER_SBCAST": archive, "WEATHER_NODE_DISK": str(disk)}
    options = ("--nodes=1", "--ntasks-per-node=1")
    job = cluster.submit("spread", "max_steps=2", options=options, **variables)
    cluster.wait_for_step(job, "spread", 1)
    assert "the run is complete" in cluster.finish(job)
    copy = disk / f"weather-environment-{job}"
    assert list(disk.iterdir()) == [copy] and (copy / "bin" / "python").read_text() == python.read_text()
    assert (tmp_path / "unpacked").exists()
    job = cluster.submit("nowhere", options=options, **{**variables, "WEATHER_NODE_DISK": str(tmp_path / "missing")})
    assert "name another folder: WEATHER_NODE_DISK" in cluster.finish(job, "FAILED")


@pytest.mark.parametrize(("before", "status"), [(400, 0), (409, 1), (410, 1)])
def test_gains_that_are_too_small_end_the_job(tmp_path: Path, before: int, status: int) -> None:
    """What the batch script thinks of a start that went from `before` to step 410 of 1000."""
    (tmp_path / "metrics.jsonl").write_text('{"event": "start", "step": 0, "total_steps": 1000}\n{"event": "train"}\n')
    script = f". {REPOSITORY}/launch/slurm_body.sh; python={sys.executable} run={tmp_path}; judge_progress {before} 410"
    environment = {**os.environ, "SLURM_JOB_ID": "7"}
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    assert ("at this rate 59 more start(s)" in done.stdout) == (status == 0)
    assert ("a start gains 1 step(s) of 1000: that would take 590 more starts" in done.stderr) == (before == 409)
    assert ("no progress" in done.stderr) == (before == 410)


def test_frontier_starts_a_rank_for_each_gcd(cluster: Cluster) -> None:
    job, tasks = told_on_frontier(cluster, "frontier")
    assert sorted((int(task[1]), int(task[2])) for task in tasks) == [(rank, rank % 8) for rank in range(16)]
    for _, _, _, threads, network, cache, cores, masks, arguments in tasks:
        assert (threads, network, cores, masks) == ("7", "OFI", "7", FRONTIER_MASKS) and cache.endswith(f"-{job}")
        assert arguments.startswith("-m weather.train --precision bf16 ")
        assert "--devices" not in arguments


def test_frontier_starts_one_task_a_node_that_starts_eight_ranks(cluster: Cluster) -> None:
    job, tasks = told_on_frontier(cluster, "frontier_single", ("--single-task",))
    assert sorted((int(task[1]), int(task[2])) for task in tasks) == [(0, 0), (1, 0)]
    for _, _, _, threads, network, cache, cores, masks, arguments in tasks:
        assert (threads, network, cores, masks) == ("7", "OFI", "56", "none") and cache.endswith(f"-{job}")
        assert "--single-task" not in arguments and arguments.endswith(" --devices 8 --num_nodes 2")


def test_a_config_that_cannot_be_used_says_so_once(cluster: Cluster) -> None:
    job = cluster.submit("refused", "learning_rat=1", options=("--ntasks-per-node=2",))
    assert cluster.finish(job, "FAILED").count("ConfigError") == 1


def test_more_tasks_than_cpus_are_refused(cluster: Cluster) -> None:
    job = cluster.submit("crowded", WEATHER_TASKS_PER_NODE="4")
    assert "4 tasks on a node of which this job has 1 CPU(s)" in cluster.finish(job, "FAILED")

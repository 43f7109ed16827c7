"""Runs under a real SLURM of two nodes: they equal a torchrun run, come back by themselves, and know when to stop."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.distributed.runs import PATIENCE_SECONDS, REPOSITORY, Workplace, assert_same_bits

pytestmark = [pytest.mark.slow, pytest.mark.cluster]
CANNOT = 77  # of slurm_up.sh: this machine can have no SLURM
SCRIPTS = Path(__file__).parent
LONG = ("epochs=30", "eval_frequency=0", "save_frequency=0")  # 180 steps: enough to be interrupted


class Cluster:
    """The SLURM and what is asked of it; jobs run in the workplace's folder."""

    def __init__(self, workplace: Workplace, environment: dict[str, str]) -> None:
        self.workplace, self.environment = workplace, environment

    def ask(self, *command: str, environment: dict[str, str] | None = None) -> str:
        """Output of a SLURM command."""
        done = subprocess.run(
            command,
            cwd=self.workplace.folder,
            env=environment or self.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def submit(
        self,
        name: str,
        *settings: str,
        options: tuple[str, ...] = (),
        script: str = "slurm.sbatch",
        **variables: str,
    ) -> str:
        """Submit a run with fsdp on two nodes; gives the job's number."""
        words = self.workplace.command(name, "strategy=fsdp", *settings)
        arguments = words[words.index("weather.train") + 1 :]
        path = str(REPOSITORY / "launch" / script)
        environment = {**self.environment, **variables}
        return self.ask("sbatch", "--parsable", "--nodes=2", *options, path, *arguments, environment=environment)

    def state(self, job: str) -> str:
        return self.fact(job, "JobState")

    def fact(self, job: str, name: str) -> str:
        """One field of `scontrol show job`."""
        words = self.ask("scontrol", "show", "job", job).split()
        return next(word.partition("=")[2] for word in words if word.startswith(f"{name}="))

    def output(self, job: str) -> str:
        path = self.workplace.folder / f"weather-{job}.out"
        return path.read_text() if path.exists() else ""

    def wait(self, job: str, what: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, f"{self.state(job)} after {seconds} s: {self.output(job)}"
            time.sleep(0.1)

    def wait_for_step(self, job: str, name: str, step: int) -> None:
        self.wait(job, lambda: any(record["step"] >= step for record in self.workplace.records(name, "train")))

    def restart(self, job: str) -> None:
        """Wait until a job is requeued and let it start: SLURM itself would wait two minutes."""
        self.wait(job, lambda: self.state(job) == "PENDING" and self.fact(job, "Restarts") == "1")
        self.ask("scontrol", "update", f"JobId={job}", "StartTime=now+3")  # at once, nodes still refuse it

    def finish(self, job: str, state: str = "COMPLETED") -> str:
        """Wait for the end of a job; gives what it printed."""
        self.wait(job, lambda: self.state(job) not in ("PENDING", "RUNNING", "COMPLETING"))
        assert self.state(job) == state, self.output(job)
        return self.output(job)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    place = Workplace(tmp_path_factory.mktemp("slurm_runs"))
    yield place
    place.close()


@pytest.fixture(scope="module")
def cluster(workplace: Workplace) -> Iterator[Cluster]:
    """SLURM for the tests of this file; down again at the end."""
    folder = workplace.folder / "slurm"
    for private in (workplace.folder, *workplace.folder.parents[:2]):  # pytest's, and munged runs as a user of its own
        private.chmod(private.stat().st_mode | 0o055)
    up = subprocess.run(
        ["bash", str(SCRIPTS / "slurm_up.sh"), str(folder)], capture_output=True, text=True, timeout=240
    )
    if up.returncode == CANNOT:
        pytest.skip(up.stderr.strip().splitlines()[-1])
    assert up.returncode == 0, up.stderr
    # Neither variables of a job around the tests nor those of an earlier launcher reach the jobs.
    launchers = ("SLURM_", "SBATCH_", "MASTER_")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(launchers)}
    try:
        yield Cluster(
            workplace,
            {
                **inherited,
                "SLURM_CONF": str(folder / "slurm.conf"),
                "WEATHER_PYTHON": sys.executable,
                "OMP_NUM_THREADS": "1",
            },
        )
    finally:
        subprocess.run(["bash", str(SCRIPTS / "slurm_down.sh"), str(folder)], check=True, timeout=60)


@pytest.fixture(scope="module")
def uninterrupted(workplace: Workplace) -> str:
    """Name of a long run that nobody interrupts, under torchrun."""
    workplace.run("uninterrupted", "strategy=fsdp", *LONG, ranks=2)
    return "uninterrupted"


def task_process(job: str, rank: int) -> int:
    """Process id of a rank's Python below srun."""
    wanted = {f"SLURM_JOB_ID={job}", f"SLURM_PROCID={rank}"}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_text().split("\0")
            variables = (folder / "environ").read_text(errors="replace").split("\0")
        except OSError:
            continue
        if (
            words[1:3] == ["-m", "weather.train"]
            and wanted <= {*variables}
            and "WEATHER_STOPPED_MARK" in "".join(variables)
        ):
            return int(folder.name)
    raise AssertionError(f"no rank {rank} of job {job}")


@contextlib.contextmanager
def paused(process: int) -> Iterator[None]:
    """Halt a rank, and with it all others, which wait for it."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def test_a_job_equals_a_torchrun_run(cluster: Cluster, workplace: Workplace) -> None:
    job = cluster.submit("job", options=("--ntasks-per-node=2",))
    output = cluster.finish(job)
    assert "2 task(s) a node" in output and "fsdp on 4 x cpu" in output
    workplace.run("torchrun", "strategy=fsdp", ranks=4)
    assert len(workplace.losses("job")) == 18
    assert workplace.losses("job") == pytest.approx(workplace.losses("torchrun"), abs=1e-6)


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
    job = cluster.submit("again", *LONG, options=("--ntasks-per-node=1", "--no-requeue"))
    cluster.wait_for_step(job, "again", 5)
    cluster.ask("scancel", "--batch", "--signal=USR1", job)
    following = cluster.finish(job).split("goes on as job ")[1].split()[0]
    saved = workplace.records("again", "stop")[-1]["step"]
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


def test_a_killed_rank_ends_the_others(cluster: Cluster, workplace: Workplace) -> None:
    job = cluster.submit("killed", *LONG, options=("--ntasks-per-node=2",))
    cluster.wait_for_step(job, "killed", 5)
    began = time.monotonic()
    os.kill(task_process(job, 3), signal.SIGKILL)
    output = cluster.finish(job, "FAILED")
    assert time.monotonic() - began < 15
    assert "exit code 137" in output


def test_frontier_starts_a_rank_for_each_gcd(cluster: Cluster, workplace: Workplace) -> None:
    """The interpreter and `module` are stand-ins: one shows what it was given, the other loads nothing."""
    stand_in = workplace.folder / "python_that_tells"
    told = "$SLURM_PROCID $SLURM_LOCALID $OMP_NUM_THREADS $NCCL_NET $(ls -d $MIOPEN_USER_DB_PATH) $*"
    stand_in.write_text(
        "#!/usr/bin/env bash\n"
        f'[[ "$*" != "-m weather.train"* || "$*" == *--print-config ]] || {{ echo "rank {told}"; exit; }}\n'
        f'exec {sys.executable} "$@"\n'
    )
    stand_in.chmod(0o755)
    variables = {
        "BASH_FUNC_module%%": '() { if [ "$1" = -t ]; then printf "%s\\n" $FRONTIER_MODULES; fi; }',
        "FRONTIER_MODULES": "rocm/7.1.1 rccl-net-plugin",
        "WEATHER_PYTHON": str(stand_in),
    }
    job = cluster.submit("frontier", script="frontier.sbatch", **variables)
    ranks = [line.split(maxsplit=6) for line in cluster.finish(job).splitlines() if line.startswith("rank ")]
    assert sorted((int(rank[1]), int(rank[2])) for rank in ranks) == [(rank, rank % 8) for rank in range(16)]
    for _, _, _, threads, network, cache, arguments in ranks:
        assert (threads, network) == ("7", "OFI") and cache.endswith(f"-{job}")
        assert arguments.startswith("-m weather.train --precision bf16 ")


def test_a_config_that_cannot_be_used_says_so_once(cluster: Cluster) -> None:
    job = cluster.submit("refused", "learning_rat=1", options=("--ntasks-per-node=2",))
    assert cluster.finish(job, "FAILED").count("ConfigError") == 1


def test_more_tasks_than_cpus_are_refused(cluster: Cluster) -> None:
    job = cluster.submit("crowded", WEATHER_TASKS_PER_NODE="4")
    assert "4 tasks on a node of which this job has 1 CPU(s)" in cluster.finish(job, "FAILED")

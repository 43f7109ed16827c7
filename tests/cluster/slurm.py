"""A SLURM of two nodes on this machine: what tests ask of it and of the processes of its jobs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.distributed.runs import PATIENCE_SECONDS, REPOSITORY, Workplace

SHORT = ("epochs=10", "eval_frequency=0", "save_frequency=0")  # 60 steps, for more ranks than cores
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
        mode: tuple[str, ...] = (),
        script: str = "slurm.sbatch",
        **variables: str,
    ) -> str:
        """Submit a run with fsdp on two nodes, with options of sbatch and a mode of the script; gives its number."""
        words = self.workplace.command(name, "strategy=fsdp", *settings)
        arguments = [*mode, *words[words.index("weather.train") + 1 :]]
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


def job_processes(job: str) -> list[int]:
    """All processes of a job that are left, with those that SLURM has lost sight of."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"SLURM_JOB_ID={job}" in (folder / "environ").read_text(errors="replace").split("\0"):
                found.append(int(folder.name))
    return found


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

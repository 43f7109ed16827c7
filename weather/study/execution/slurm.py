"""Runs as jobs of SLURM: a job for each trunk or lone run, an array for the branches of a trunk, chained to it."""

from __future__ import annotations

import os
import shlex
import socket
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import weather
from weather.errors import LaunchError
from weather.study.execution.contract import Held, TrainOptions
from weather.study.execution.records import (
    Attempt,
    change_last_attempt,
    log_size,
    newest_checkpoint_step,
    read_attempts,
    write_attempts,
)
from weather.study.execution.slurm_queue import (
    Queue,
    array_file,
    array_numbers,
    job_name,
    read_queue,
    slurm,
    write_array,
)
from weather.study.folder import StudyFolder
from weather.study.planned import PlannedRun

BATCH_SCRIPT = Path(weather.__file__).parents[1] / "launch" / "slurm.sbatch"
#: In sbatch's refusals where the limit of a user, a queue or an account is reached.
LIMITS = ("QOSMax", "AssocMax", "AssocGrp", "QOSGrp", "MaxSubmit", "Job violates accounting/QOS policy")


@dataclass(frozen=True)
class Submission:
    """One call of sbatch.

    Attributes:
        runs: one, or the branches of one trunk.
        trunk: that must have ended well before; None: they can start.
    """

    runs: tuple[PlannedRun, ...]
    trunk: str | None = None


@dataclass
class SlurmExecutor:
    """Submits runs by sbatch and follows them in the queue.

    Args:
        options: of every run.
        batch_script: launch/slurm.sbatch or launch/frontier.sbatch.
        sbatch_options: of yours, such as account, partition and time.
        max_jobs: that this user may have in the queue, tasks of arrays counted one by one; None: no limit.
    """

    options: TrainOptions = field(default_factory=TrainOptions)
    batch_script: Path = BATCH_SCRIPT
    sbatch_options: tuple[str, ...] = ()
    max_jobs: int | None = None
    poll_seconds: float = 10.0
    outlives: bool = field(default=True, init=False)
    chains: bool = field(default=True, init=False)

    def open(self, folder: StudyFolder, runs: Sequence[PlannedRun]) -> None:
        if not self.batch_script.is_file():
            raise LaunchError(
                "there is no such batch script", where=self.batch_script, fix="--batch_script PATH/launch/slurm.sbatch"
            )
        if self.max_jobs is not None and self.max_jobs < 1:
            raise LaunchError(f"--max_jobs {self.max_jobs}", rule="at least 1")
        self.folder, self.runs = folder, tuple(runs)
        self.queue: Queue | None = None
        self.vanished: set[str] = set()
        for run in runs:
            self.options.ranks(run)

    def cannot(self, run: PlannedRun) -> str:
        return ""

    def look(self) -> Mapping[str, Held]:
        before = self.queue
        try:
            self.queue = read_queue(self.folder, self.runs)
        except LaunchError:
            # A controller that is busy for a moment must not make jobs look ended; at the start it is said.
            if before is None:
                raise
            self.queue = before
        held: dict[str, Held] = {name: job.held for name, job in self.queue.jobs.items()}
        # What has just left the queue may still be on the way to the disk that is read here: once more.
        gone = {*before.jobs} - {*held} if before is not None else set()
        for name in self.vanished - {*held}:
            change_last_attempt(self.folder, name, ended=time.time())
        self.vanished = gone
        return {**held, **dict.fromkeys(gone, "running")}

    def start(self, runs: Sequence[PlannedRun], waiting: Collection[str]) -> dict[str, str]:
        queue = self.queue or read_queue(self.folder, self.runs)
        jobs = {name: job.number for name, job in queue.jobs.items()}
        room = len(runs) if self.max_jobs is None else max(0, self.max_jobs - queue.total)
        started: dict[str, str] = {}
        for submission in self._submissions(runs, waiting):
            taken = submission.runs[:room]
            if not taken or (submission.trunk is not None and submission.trunk not in jobs):
                continue  # no room, or none for the trunk
            try:
                job = self._submit(Submission(taken, submission.trunk), jobs.get(submission.trunk or ""))
            except LaunchError as error:
                full = any(limit in str(error) for limit in LIMITS)
                if full and (queue.total or started):
                    break  # what is there has to leave first
                raise
            room -= len(taken)
            jobs |= dict.fromkeys((run.name for run in taken), job)
            started |= dict.fromkeys((run.name for run in taken), f"submitted as job {job}")
        return started

    def stop(self) -> None:
        """Nothing to do: jobs outlive the conductor."""

    def lines(self, runs: Sequence[PlannedRun], waiting: Collection[str]) -> list[str]:
        submissions = self._submissions(runs, waiting)
        return [shlex.join(self._command(each, f"JOB_OF_{each.trunk}", self._numbers(each))) for each in submissions]

    def _submissions(self, runs: Sequence[PlannedRun], waiting: Collection[str]) -> list[Submission]:
        """Lone runs and trunks as they are; branches that begin alike, together."""
        groups: dict[tuple[object, ...], list[PlannedRun]] = {}
        for run in runs:
            alike = (run.trunk, run.name in waiting, run.num_nodes, self.options.ranks(run))
            groups.setdefault(alike if run.role == "branch" else (run.name,), []).append(run)
        chained = [(group, group[0].trunk if group[0].name in waiting else None) for group in groups.values()]
        return [Submission(tuple(group), trunk) for group, trunk in chained]

    def _numbers(self, submission: Submission) -> dict[str, int]:
        """Numbers in the array as they would be, without writing anything."""
        first = submission.runs[0]
        if first.role != "branch":
            return {}
        known = array_numbers(self.folder, first.trunk or "")
        every = [run.name for run in self.runs if run.trunk == first.trunk]
        for name in every:
            known.setdefault(name, max(known.values(), default=-1) + 1)
        return known

    def _submit(self, submission: Submission, after: str | None) -> str:
        first = submission.runs[0]
        numbers: dict[str, int] = {}
        if first.role == "branch":
            numbers = write_array(self.folder, first.trunk or "", [r for r in self.runs if r.trunk == first.trunk])
            self._link_logs(submission, numbers)
        self.folder.log_file(first.name).parent.mkdir(parents=True, exist_ok=True)
        began = time.time()
        environment = {"WEATHER_PYTHON": sys.executable, **os.environ}
        job = slurm(*self._command(submission, after, numbers), environment=environment).partition(";")[0]
        for run in submission.runs:
            attempt = Attempt(
                started=began,
                host=socket.gethostname(),
                job=f"{job}_{numbers[run.name]}" if numbers else job,
                checkpoint_step=newest_checkpoint_step(self.folder, run.name),
                planned_steps=run.cost.steps,
                log_offset=log_size(self.folder, run.name),
            )
            write_attempts(self.folder, run.name, [*read_attempts(self.folder, run.name), attempt])
        return job

    def _command(self, submission: Submission, after: str | None, numbers: Mapping[str, int]) -> list[str]:
        run = submission.runs[0]
        ranks = self.options.ranks(run)
        words = ["sbatch", "--parsable", f"--nodes={run.num_nodes}", f"--ntasks-per-node={ranks}"]
        if numbers:
            trunk = run.trunk or ""
            tasks = ",".join(str(numbers[each.name]) for each in submission.runs)
            words += [f"--job-name={job_name(self.folder, trunk, branches=True)}", f"--array={tasks}"]
            log, config, name = self._array_log(trunk, "%a"), array_file(self.folder, trunk), "%a"
        else:
            words += [f"--job-name={job_name(self.folder, run.name)}"]
            log, config, name = self.folder.log_file(run.name), self.folder.config_file(run.name), run.name
        if submission.trunk is not None:
            words += [f"--dependency=afterok:{after}", "--kill-on-invalid-dep=yes"]
        words += [f"--output={log.absolute()}", *self.sbatch_options, str(self.batch_script.absolute())]
        # The batch script starts the ranks; told how many there should be, they refuse another number.
        check = ["--devices", str(ranks), "--num_nodes", str(run.num_nodes)]
        return [*words, "--config", str(config.absolute()), "--config_name", name, *self.options.words(), *check]

    def _array_log(self, trunk: str, number: str) -> Path:
        return self.folder.log_file(trunk).parent / "arrays" / f"{trunk}-{number}.log"

    def _link_logs(self, submission: Submission, numbers: Mapping[str, int]) -> None:
        """SLURM names the output of a task by its number; a link leads it to the log of the run."""
        for run in submission.runs:
            link = self._array_log(run.trunk or "", str(numbers[run.name]))
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(Path("..") / self.folder.log_file(run.name).name)

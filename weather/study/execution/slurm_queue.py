"""What SLURM's queue holds of a study. Jobs are known by their names, for a job that may not be requeued submits itself
again under another number, with the same name."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from weather.errors import LaunchError
from weather.presentation.writing import write_whole
from weather.study.execution.contract import Held
from weather.study.folder import StudyFolder
from weather.study.planned import PlannedRun

BRANCHES = "branches"
#: A job in one of these states will not train again; SLURM shows it for a moment.
OVER = ("COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "BOOT_FAIL", "DEADLINE", "OUT_OF_MEMORY")
QUEUED = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT")
COMMAND_SECONDS = 60


@dataclass(frozen=True)
class Job:
    """A job of a study that is in the queue.

    Attributes:
        number: as sbatch takes it for a dependency; of an array, ARRAY_TASK.
        reason: why it waits, in SLURM's words.
    """

    number: str
    held: Held
    reason: str


@dataclass(frozen=True)
class Queue:
    """The jobs of this user.

    Attributes:
        jobs: those of the study, by run.
        total: of all of them, tasks of arrays counted one by one.
    """

    jobs: dict[str, Job]
    total: int


def job_name(folder: StudyFolder, run: str, *, branches: bool = False) -> str:
    """Name of the job of a run, or of the array of a trunk's branches; no two studies share one."""
    path = folder.path.absolute()
    digest = hashlib.blake2b(str(path).encode(), digest_size=3).hexdigest()
    return ":".join([f"{path.name}-{digest}", run, *([BRANCHES] if branches else [])])


def array_file(folder: StudyFolder, trunk: str) -> Path:
    """YAML file with the configs of a trunk's branches, each under its number in the array."""
    return folder.path / "configs" / "arrays" / f"{trunk}.yaml"


def array_numbers(folder: StudyFolder, trunk: str) -> dict[str, int]:
    """Number of each branch in the arrays of its trunk, as far as they have been submitted."""
    try:
        configs = yaml.safe_load(array_file(folder, trunk).read_text(encoding="utf-8"))
        return {str(config["experiment"]["name"]): int(number) for number, config in configs.items()}
    except FileNotFoundError:
        return {}
    except (OSError, yaml.YAMLError, AttributeError, TypeError, KeyError, ValueError) as error:
        raise LaunchError(f"cannot be read ({error})", where=array_file(folder, trunk)) from error


def write_array(folder: StudyFolder, trunk: str, branches: Sequence[PlannedRun]) -> dict[str, int]:
    """Write the configs of a trunk's branches; a branch keeps the number that it had."""
    numbers = array_numbers(folder, trunk)
    for branch in branches:
        numbers.setdefault(branch.name, max(numbers.values(), default=-1) + 1)
    configs = {str(numbers[branch.name]): branch.config.to_dict() for branch in branches}
    path = array_file(folder, trunk)
    if path.exists():
        configs = {**yaml.safe_load(path.read_text(encoding="utf-8")), **configs}
    write_whole(path, yaml.safe_dump(configs, sort_keys=False, allow_unicode=True))
    return numbers


def read_queue(folder: StudyFolder, runs: Sequence[PlannedRun]) -> Queue:
    """Ask SLURM for this user's jobs.

    Raises:
        LaunchError: SLURM does not answer.
    """
    names = {(job_name(folder, run.name), ""): run.name for run in runs}
    for trunk in {run.trunk for run in runs if run.trunk is not None}:
        for branch, task_number in array_numbers(folder, trunk).items():
            names[job_name(folder, trunk, branches=True), str(task_number)] = branch
    jobs: dict[str, Job] = {}
    total = 0
    for line in slurm("squeue", "--me", "--noheader", "--array", "--format=%i|%j|%K|%T|%r").splitlines():
        number, name, task, state, reason = line.split("|", 4)
        if state in OVER:
            continue
        total += 1
        run = names.get((name, task if task.isdecimal() else ""))
        if run is not None:
            jobs[run] = Job(number, "queued" if state in QUEUED else "running", reason)
    return Queue(jobs, total)


def slurm(*command: str, environment: dict[str, str] | None = None) -> str:
    """Output of a command of SLURM.

    Raises:
        LaunchError: it is not there, fails, or does not answer.
    """
    if shutil.which(command[0]) is None:
        raise LaunchError(
            f"there is no {command[0]} here", rule="--executor slurm needs SLURM's commands", fix="use --executor local"
        )
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=True
        )
    except subprocess.TimeoutExpired as error:
        raise LaunchError(f"{command[0]} has not answered for {COMMAND_SECONDS} s") from error
    except (subprocess.CalledProcessError, OSError) as error:
        said = " ".join((getattr(error, "stderr", "") or str(error)).split())
        raise LaunchError(f"{command[0]} failed: {said}") from error
    return done.stdout.strip()

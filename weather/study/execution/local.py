"""Runs as processes of this machine: several at a time, each on cores and accelerators of its own."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

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
from weather.study.execution.shares import Accelerators, Share, divide, find_accelerators
from weather.study.folder import StudyFolder
from weather.study.planned import PlannedRun

PR_SET_PDEATHSIG = 1  # of prctl(2)


@dataclass
class _Child:
    process: subprocess.Popen[bytes]
    share: Share


@dataclass
class LocalExecutor:
    """Trains up to `at_once` runs at a time on this machine.

    Args:
        options: of every run.
        at_once: None: as many as there are accelerators or cores for.
    """

    options: TrainOptions = field(default_factory=TrainOptions)
    at_once: int | None = None
    outlives: bool = field(default=False, init=False)
    chains: bool = field(default=False, init=False)
    poll_seconds: float = field(default=0.3, init=False)

    def open(self, folder: StudyFolder, runs: Sequence[PlannedRun]) -> None:
        self.folder = folder
        self.children: dict[str, _Child] = {}
        self.accelerators: Accelerators = find_accelerators(self.options.device)
        ranks = max((self.options.ranks(run) for run in runs if run.num_nodes == 1), default=1)
        self.free = divide(self.at_once, ranks=ranks, runs=max(1, len(runs)), accelerators=self.accelerators)
        self.share = self.free[0]

    def cannot(self, run: PlannedRun) -> str:
        ranks = self.options.ranks(run)
        if run.num_nodes > 1:
            return f"needs {run.num_nodes} nodes: --executor slurm"
        own, what = (self.share.devices, "accelerator(s)") if self.accelerators.names else (self.share.cores, "core(s)")
        room = len(own)
        if ranks > room:
            return f"needs {ranks} ranks, and there are {room} {what} for a run: --devices {max(1, room)}, --at_once 1"
        return ""

    def look(self) -> Mapping[str, Held]:
        for name, child in list(self.children.items()):
            status = child.process.poll()
            if status is not None:
                change_last_attempt(self.folder, name, status=status, ended=time.time())
                self.free.append(self.children.pop(name).share)
        return dict.fromkeys(self.children, "running")

    def start(self, runs: Sequence[PlannedRun], waiting: Collection[str]) -> dict[str, str]:
        started = {}
        for run in runs[: len(self.free)]:
            started[run.name] = f"started as process {self._start(run, self.free.pop(0)).pid}"
        return started

    def stop(self) -> None:
        for child in self.children.values():
            with contextlib.suppress(ProcessLookupError):
                child.process.send_signal(signal.SIGTERM)

    def lines(self, runs: Sequence[PlannedRun], waiting: Collection[str]) -> list[str]:
        lines = []
        for run in runs:
            variables = [f"{name}={value}" for name, value in self._variables(run, self.share).items()]
            when = f"  # when '{run.trunk}' has come to step {run.first_step}" if run.name in waiting else ""
            lines.append(shlex.join([*variables, *self._command(run)]) + when)
        return lines

    def _start(self, run: PlannedRun, share: Share) -> subprocess.Popen[bytes]:
        log = self.folder.log_file(run.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        attempt = Attempt(
            started=time.time(),
            host=socket.gethostname(),
            checkpoint_step=newest_checkpoint_step(self.folder, run.name),
            planned_steps=run.cost.steps,
            log_offset=log_size(self.folder, run.name),
        )
        try:
            with open(log, "ab") as output:
                process = subprocess.Popen(
                    self._command(run),
                    env={**os.environ, **self._variables(run, share)},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # a terminal's Ctrl-C comes to the conductor alone
                    preexec_fn=_preparation(share.cores),
                )
        except OSError as error:
            raise LaunchError(f"cannot be started ({error})", where=run.name) from error
        self.children[run.name] = _Child(process, share)
        attempts = read_attempts(self.folder, run.name)
        write_attempts(self.folder, run.name, [*attempts, dataclasses.replace(attempt, pid=process.pid)])
        return process

    def _command(self, run: PlannedRun) -> list[str]:
        ranks = self.options.ranks(run)
        config = ["--config", str(self.folder.config_file(run.name)), "--config_name", run.name]
        parallel = (self.options.strategy or run.config.training.strategy) != "single"
        # A parallel strategy runs in a world of ranks, be it of one.
        devices = ["--devices", str(ranks)] if parallel else []
        return [sys.executable, "-m", "weather.train", *config, *self.options.words(), *devices]

    def _variables(self, run: PlannedRun, share: Share) -> dict[str, str]:
        ranks = self.options.ranks(run)
        variables = {"OMP_NUM_THREADS": str(max(1, len(share.cores) // ranks))}
        if share.variable:
            variables[share.variable] = ",".join(share.devices[:ranks])
        return variables


def _preparation(cores: Sequence[int]) -> Callable[[], None]:
    """What a child does before it becomes the run: keep to its cores, and be asked to stop when the conductor dies."""
    parent = os.getpid()
    prctl = getattr(ctypes.CDLL(None), "prctl", None) if sys.platform == "linux" else None

    def prepare() -> None:
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:
                os._exit(128 + signal.SIGTERM)
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, cores)

    return prepare

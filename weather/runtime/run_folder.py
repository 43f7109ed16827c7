"""The folder of a run: who holds it, what it was started with.

``config.yaml`` is the resolved config, ``environment.json`` what it ran on, ``metrics.jsonl`` what it measured.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import os
import platform
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import torch
import yaml

from weather.config.wrapper import ConfigWrapper
from weather.errors import LaunchError
from weather.presentation.writing import plain, write_whole
from weather.runtime.device import Device
from weather.runtime.ranks import Ranks

CONFIG_FILE = "config.yaml"
METRICS_FILE = "metrics.jsonl"
ENVIRONMENT_FILE = "environment.json"
LOCK_FILE = "lock"
RECORDED_VARIABLES = (
    *("CUDA_", "HIP_", "ROCR_", "HSA_", "MIOPEN_", "NCCL_", "RCCL_", "FI_", "GLOO_", "MASTER_", "TORCH"),
    *("OMP_", "SLURM_", "HDF5_"),
)
SECRET_VARIABLES = ("SLURM_JWT",)
RECORDED_PACKAGES = ("weather", "torch", "numpy", "h5py", "pydantic", "flash-attn", "deepspeed", "wandb")


class RunLock:
    """Keeps a second process off a folder for as long as this one lives; a killed process lets go by itself.

    Args:
        held: what the folder is, for messages; elsewhere: how a second process writes to another.
    """

    def __init__(self, folder: Path, *, held: str = "run", elsewhere: str = "use another experiment.name") -> None:
        self.path, self.held, self.elsewhere = folder / LOCK_FILE, held, elsewhere
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            LaunchError: another process holds it; says which.
        """
        import fcntl

        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = open(self.path, "a+", encoding="utf-8")  # noqa: SIM115 - held until release
        except OSError as error:
            raise LaunchError(
                f"cannot write there ({error})",
                where=self.path.parent,
                fix="check experiment.runs_dir and training.checkpoint_dir",
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            raise LaunchError(
                f"the {self.held} is held by {holder}",
                where=self.path.parent,
                rule=f"one process at a time writes to a {self.held}",
                fix=f"wait for it, end it, or {self.elsewhere}",
            ) from error
        except OSError:
            # Some parallel file systems have no locks; a run must not fail for that.
            print(
                f"warning: {self.path.parent} is on a file system without locks: make sure that no second "
                f"process writes to this {self.held}",
                file=sys.stderr,
            )
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def hold(locks: contextlib.ExitStack, *folders: Path) -> None:
    """Lock folders until `locks` is left.

    Raises:
        LaunchError: another process holds one of them.
    """
    for folder in folders:
        lock = RunLock(folder)
        lock.acquire()
        locks.callback(lock.release)


def write_config(folder: Path, config: ConfigWrapper) -> None:
    """Write the resolved config, atomically."""
    _write(folder / CONFIG_FILE, yaml.safe_dump(config.to_dict(), sort_keys=False, allow_unicode=True))


def read_config(folder: Path) -> ConfigWrapper:
    """The resolved config of an earlier run.

    Raises:
        LaunchError: the folder is no run's.
    """
    path = folder / CONFIG_FILE
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise LaunchError(f"no run here ({error})", where=folder, rule=f"a run's folder holds {CONFIG_FILE}") from error
    if not isinstance(settings, dict):
        raise LaunchError(f"{CONFIG_FILE} holds no config", where=folder)
    return ConfigWrapper(settings, source=str(path))


def write_environment(folder: Path, ranks: Ranks, device: Device) -> None:
    """Write versions, commit, device, ranks and the variables that matter."""
    facts = {
        **software(),
        "device": {"kind": device.kind, "name": device.name, "precision": device.precision, "backend": device.backend},
        "threads": torch.get_num_threads(),
        "ranks": {"world_size": ranks.world_size, "nodes": ranks.nodes, "launcher": ranks.launcher},
        "host": socket.gethostname(),
        "variables": recorded_variables(),
        "command": sys.argv,
    }
    _write(folder / ENVIRONMENT_FILE, json.dumps(facts, indent=1))


def software() -> dict[str, Any]:
    """Versions of all that computes, and the commit; None where something is not there."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in RECORDED_PACKAGES},
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "nccl": _nccl_version(),
        "commit": git_commit(),
    }


def recorded_variables() -> dict[str, str]:
    """The environment variables that decide how ranks find each other and compute."""
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith(RECORDED_VARIABLES) and name not in SECRET_VARIABLES
    }


@functools.cache
def git_commit() -> str | None:
    """Commit of the code that runs, with `+changes` where the tree differs from it; None outside a repository."""
    folder = Path(__file__).resolve().parents[2]
    try:
        commit = _git(folder, "rev-parse", "--short=12", "HEAD")
        return commit + ("+changes" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _nccl_version() -> str | None:
    """Of NCCL, or of RCCL where torch is built for ROCm."""
    if not torch.distributed.is_nccl_available():
        return None
    return ".".join(map(str, torch.cuda.nccl.version()))


def _write(path: Path, text: str) -> None:
    try:
        write_whole(path, text)
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> LaunchError:
    return LaunchError(f"cannot write ({error})", where=path, fix="check the disk's space and permissions")


def parse_records(text: str) -> Iterator[dict[str, Any]]:
    """Records of metrics.jsonl, or of its end; a line that is none, such as half of one, is passed over."""
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict) and "event" in record:
                yield record


def json_line(record: dict[str, Any]) -> str:
    """One line of metrics.jsonl; numbers that are not finite become null, for JSON has no word for them."""
    return json.dumps(plain(record), allow_nan=False)

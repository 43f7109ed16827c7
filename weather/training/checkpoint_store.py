"""Writes a run's checkpoints beside its training, and keeps the newest and the best.

The training waits only until its tensors are copied to host memory. A thread of each rank then writes them, over a
process group of its own, for two threads must not share one. When all ranks have written, rank 0 makes the checkpoint
count. At most one save is under way.
"""

from __future__ import annotations

import contextlib
import datetime
import queue
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp

from weather.errors import CheckpointError, LaunchError
from weather.runtime.collectives import gather_from_ranks, rank_was_lost
from weather.training.checkpoint import TEMPORARY, Progress, line_of
from weather.training.checkpoint_commit import commit, prepare_folder, rotate
from weather.training.checkpoint_digest import DigestingWriter, FileDigest
from weather.training.checkpoint_snapshot import Snapshot, own_share

SLOWEST_SAVE_MINUTES = 60.0  # a slow disk is no lost rank: those the training's own collectives find
GRACE_SECONDS = 30.0  # that a save has left when the run ends with an error


@dataclass
class Saving:
    """A checkpoint that is being written, or was.

    Attributes:
        seconds: from the start of the save until the checkpoint was complete.
        stall_seconds: of these, what the training lost.
        bytes: on disk; known on rank 0 only.
    """

    path: Path
    step: int
    seconds: float = 0.0
    stall_seconds: float = 0.0
    bytes: int = 0


class CheckpointStore:
    """The checkpoints of one run. All ranks make it together, after the process group was started.

    Args:
        folder: ``<checkpoint_dir>/<experiment name>``.
        max_checkpoints: newest ones kept; 0 keeps all.
        keep_steps: of which a checkpoint is kept for good.
        asynchronous: whether the training goes on while a checkpoint is written.
        timeout_minutes: after which a save gives up waiting for another rank, if it is more than an hour.

    Raises:
        LaunchError: the ranks cannot form a group of their own for saves.
    """

    def __init__(
        self,
        folder: Path,
        max_checkpoints: int,
        *,
        keep_steps: Collection[int] = (),
        asynchronous: bool = True,
        timeout_minutes: float = 10.0,
    ) -> None:
        self.folder = folder
        self.max_checkpoints = max_checkpoints
        self.keep_steps = keep_steps
        self.asynchronous = asynchronous
        self._group: dist.ProcessGroup | None = None
        if dist.is_initialized():
            timeout = datetime.timedelta(minutes=max(timeout_minutes, SLOWEST_SAVE_MINUTES))
            try:
                self._group = dist.new_group(backend="gloo", timeout=timeout)
            except (dist.DistError, RuntimeError) as error:
                raise LaunchError(
                    f"the ranks cannot form a gloo group to write checkpoints with ({line_of(error)})",
                    fix="set GLOO_SOCKET_IFNAME to the interface between the nodes",
                ) from error
        self._snapshot = Snapshot()
        self._thread: threading.Thread | None = None
        self._saving: Saving | None = None  # since the last `wait`
        self._failure: BaseException | None = None
        self._finished: queue.SimpleQueue[Saving] = queue.SimpleQueue()
        #: What the last save took, if it is known; a run's own from an earlier start may be put here.
        self.last_seconds = 0.0

    def save(
        self,
        name: str,
        collect: Callable[[], Mapping[str, torch.Tensor]],
        progress: Progress,
        facts: Mapping[str, Any],
    ) -> Saving:
        """Begin to write a checkpoint, after the one before is complete; then those no longer kept are removed.

        All ranks call it together. Once it returns, the tensors may change.

        Args:
            name: of its folder, ``checkpoint_epoch_5`` or ``checkpoint_step_1234``.
            collect: gives the tensors by canonical name, plain or sharded.
            facts: `config`, `samples`, `strategy`, `world_size`.

        Raises:
            CheckpointError: the one before, or without `asynchronous` this one, could not be written; the earlier
                checkpoints are untouched.
        """
        began = time.monotonic()
        self._settle()
        state = own_share(collect(), self._group)
        if self.asynchronous:
            state = self._snapshot.take(state)
        saving = self._saving = Saving(self.folder / name, progress.step)
        # A daemon, for a process that fails must end even if its save never does.
        self._thread = threading.Thread(
            target=self._write, args=(saving, state, progress, dict(facts), began), name="checkpoint", daemon=True
        )
        self._thread.start()
        saving.stall_seconds = time.monotonic() - began
        if not self.asynchronous:
            self._settle()
            saving.stall_seconds = time.monotonic() - began
        return saving

    @property
    def failed(self) -> bool:
        """Whether this rank knows that the save failed; `wait` then tells all ranks together."""
        return self._failure is not None

    def finished(self) -> list[Saving]:
        """Saves that were completed since this was last asked; waits for nothing."""
        finished = []
        with contextlib.suppress(queue.Empty):
            while True:
                finished.append(self._finished.get_nowait())
        return finished

    def seconds_to_save(self) -> float:
        """How long a save takes that is waited for, the one under way included; by the last one, 0 before it."""
        under_way = self._thread is not None and self._thread.is_alive()
        return self.last_seconds * (2 if under_way else 1)

    def wait(self) -> list[Saving]:
        """Wait until the save under way is complete, and give what `finished` does. All ranks call it together.

        Raises:
            CheckpointError: it failed, on whatever rank: all ranks raise it.
        """
        saving, began = self._saving, time.monotonic()
        self._settle()
        if saving is not None:
            saving.stall_seconds += time.monotonic() - began
        return self.finished()

    def close(self) -> list[Saving]:
        """Let the save that an error left under way come to its end if it is near, and never hang on it.

        Each rank may call it alone. Gives what `finished` does.
        """
        if self._thread is not None:
            self._thread.join(GRACE_SECONDS)
            if self._thread.is_alive() and self._saving is not None:
                print(f"warning: {self._saving.path} was not complete when the run ended", file=sys.stderr)
        return self.finished()

    def _settle(self) -> None:
        """Wait for the save under way, and agree on its outcome."""
        saving = self._saving
        if saving is None or self._thread is None:
            return
        self._thread.join()
        failure, self._failure = self._failure, None
        self._saving = self._thread = None
        if failure is not None and rank_was_lost(failure):
            raise LaunchError(
                f"another rank failed or was lost while the checkpoint was written ({line_of(failure)[:200]})",
                where=saving.path,
                fix="its own message says why; start the same command again to go on from the newest whole one",
            ) from failure
        # The threads agree already on what one of them met while writing, but not on how each of them ended.
        failures = gather_from_ranks(None if failure is None else line_of(failure))
        for text in failures:
            if text is not None:
                error = CheckpointError(
                    f"cannot write the checkpoint ({text})",
                    where=saving.path,
                    fix="check the disk's space and permissions; earlier checkpoints are untouched",
                )
                error.agreed = True
                raise error from failure

    def _write(
        self, saving: Saving, state: Mapping[str, torch.Tensor], progress: Progress, facts: dict[str, Any], began: float
    ) -> None:
        """Write the tensors and make the checkpoint count; runs in a thread, and all ranks' threads together."""
        temporary = saving.path.with_name(saving.path.name + TEMPORARY)

        def finish(files: dict[str, FileDigest]) -> None:
            saving.bytes = commit(temporary, saving.path, progress, facts, files)
            rotate(self.folder, self.max_checkpoints, self.keep_steps)

        writer = DigestingWriter(temporary, prepare=lambda: prepare_folder(temporary), commit=finish)
        try:
            dcp.save(dict(state), storage_writer=writer, process_group=self._group, no_dist=not dist.is_initialized())
        except BaseException as error:  # among them DCP's own; `wait` raises it where it can be handled
            self._failure = error
            return
        saving.seconds = self.last_seconds = time.monotonic() - began
        self._finished.put(saving)

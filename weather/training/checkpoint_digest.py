"""Digests of checkpoint files, taken of the bytes on their way to the disk.

A digest of what was meant to be written also finds what the disk or the network lost; and nothing is read twice.
SHA-256 is the fastest that `hashlib` has on processors with SHA instructions (1.2 GB/s against 0.9 of BLAKE2b on the
Xeon that it was measured on), and `sha256sum` checks it without this project.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.filesystem import FileSystem
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future

ALGORITHM = "sha256"
CHUNK_BYTES = 1 << 22


@dataclass(frozen=True)
class FileDigest:
    """Size in bytes and hexadecimal digest of a file."""

    bytes: int
    digest: str


def digest_text(text: str) -> FileDigest:
    data = text.encode()
    return FileDigest(len(data), hashlib.new(ALGORITHM, data).hexdigest())


def digest_file(path: Path, advance: Callable[[int], None] = lambda _: None) -> FileDigest:
    """Digest a file on disk; `advance` is told of the bytes as they are read.

    Raises:
        OSError: it cannot be read.
    """
    digest, size, buffer = hashlib.new(ALGORITHM), 0, memoryview(bytearray(CHUNK_BYTES))
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            size += count
            advance(count)
    return FileDigest(size, digest.hexdigest())


class _DigestingFile:
    """A file that is written from begin to end, with the digest of what was written."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.digest, self.size = hashlib.new(ALGORITHM), 0

    def write(self, data: Any) -> int:
        self.digest.update(data)
        self.size += memoryview(data).nbytes
        return int(self.file.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


class _DigestingFileSystem(FileSystem):
    """Keeps a digest of every file that is written through it."""

    def __init__(self) -> None:
        self.files: dict[str, FileDigest] = {}

    @contextlib.contextmanager
    def create_stream(self, path: str | os.PathLike[str], mode: str) -> Iterator[Any]:  # type: ignore[override]
        with super().create_stream(path, mode) as stream:
            file = _DigestingFile(stream)
            yield file
        self.files[Path(path).name] = FileDigest(file.size, file.digest.hexdigest())

    def rename(self, path: str | os.PathLike[str], new_path: str | os.PathLike[str]) -> None:
        super().rename(path, new_path)
        self.files[Path(new_path).name] = self.files.pop(Path(path).name)


class DigestingWriter(dcp.FileSystemWriter):
    """Writes the tensors of a checkpoint; the digests of all ranks' files travel to rank 0 with the write results.

    What `prepare` and `commit` raise reaches every rank, as what a rank's own writing raises does.

    Args:
        folder: to write into.
        prepare: makes the folder; called on rank 0 before any rank writes.
        commit: called on rank 0 with the digests once all files of all ranks are on disk.
    """

    def __init__(
        self, folder: Path, prepare: Callable[[], None], commit: Callable[[dict[str, FileDigest]], None]
    ) -> None:
        # What is saved lies in host memory; copying ahead would only make a stream of the device wait.
        super().__init__(folder, single_file_per_rank=True, sync_files=True, per_thread_copy_ahead=0)
        self.fs = self._files = _DigestingFileSystem()
        self._prepare, self._commit = prepare, commit
        self._first = False

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        super().set_up_storage_writer(is_coordinator, *args, **kwargs)
        self._first = is_coordinator

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        if self._first:
            self._prepare()
        return plan

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[Any]:  # type: ignore[override]
        try:
            written: list[WriteResult] = super().write_data(plan, planner).wait() if plan.items else []
        except Exception as error:
            raise _cause_on_disk(error) from error
        future: Future[Any] = Future()
        future.set_result((written, self._files.files))
        return future

    def finish(self, metadata: Metadata, results: list[Any]) -> None:
        files: dict[str, FileDigest] = {}
        for _, of_rank in results:
            files |= of_rank
        super().finish(metadata, [written for written, _ in results])
        self._commit(files | self._files.files)


def _cause_on_disk(error: BaseException) -> BaseException:
    """The disk's failure behind an error, if there is one: in mid-tensor, torch tells of its own position only."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return error

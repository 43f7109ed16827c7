"""A disk that is full is called so, also where torch hides it."""

from __future__ import annotations

import errno
import io

import pytest
import torch

from weather.training.checkpoint_digest import _cause_on_disk


class FullDisk(io.RawIOBase):
    """Takes 2,000 bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = 0

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self.taken += len(memoryview(data))  # type: ignore[arg-type]
        if self.taken > 2000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return len(memoryview(data))  # type: ignore[arg-type]


def test_the_cause_of_a_tensor_that_cannot_be_written_is_found() -> None:
    with pytest.raises(Exception) as failure:  # noqa: B017 - torch's own, whatever it is
        torch.save(torch.ones(1000), FullDisk())
    cause = _cause_on_disk(failure.value)
    assert isinstance(cause, OSError) and cause.errno == errno.ENOSPC
    error = ValueError("no disk in it")
    assert _cause_on_disk(error) is error

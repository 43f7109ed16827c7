"""Whether the files of a checkpoint are still what was written; all ranks share the reading."""

from __future__ import annotations

from dataclasses import dataclass

import torch.distributed as dist

from weather.runtime.collectives import gather_from_ranks
from weather.training.checkpoint import Checkpoint, DamagedCheckpoint, unreadable
from weather.training.checkpoint_digest import ALGORITHM, digest_file


@dataclass(frozen=True)
class _Fault:
    """What is wrong with a file; `error` is set if it may be whole and only cannot be read now."""

    file: str
    what: str
    error: OSError | None = None


def verify(checkpoint: Checkpoint) -> None:
    """Compare sizes and digests of all files with the marker. All ranks call it together, and all agree.

    Raises:
        DamagedCheckpoint: a file is missing or holds other bytes; says which.
        CheckpointError: a file cannot be read for another reason.
    """
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    share = sorted(checkpoint.files)[rank::world]
    for compare in (_compare_size, _compare_digest):  # sizes first: they cost next to nothing
        found = [fault for file in share if (fault := compare(checkpoint, file))]
        faults = [fault for of_rank in gather_from_ranks(found) for fault in of_rank]
        for fault in sorted(faults, key=lambda fault: fault.error is None):
            if fault.error is not None:
                error = unreadable(checkpoint.path / fault.file, fault.error)
            else:
                others = f", and {len(faults) - 1} more file(s) are damaged" if len(faults) > 1 else ""
                error = DamagedCheckpoint(f"{fault.file} is damaged: {fault.what}{others}", where=checkpoint.path)
            error.agreed = True
            raise error


def _compare_size(checkpoint: Checkpoint, file: str) -> _Fault | None:
    expected = checkpoint.files[file].bytes
    try:
        size = (checkpoint.path / file).stat().st_size
    except FileNotFoundError:
        return _Fault(file, "it is missing")
    except OSError as error:
        return _Fault(file, "", error)
    return None if size == expected else _Fault(file, f"it has {size} bytes, and {expected} were written")


def _compare_digest(checkpoint: Checkpoint, file: str) -> _Fault | None:
    try:
        same = digest_file(checkpoint.path / file) == checkpoint.files[file]
    except FileNotFoundError:
        return _Fault(file, "it is missing")
    except OSError as error:
        return _Fault(file, "", error)
    return None if same else _Fault(file, f"its {ALGORITHM} is not that of what was written")

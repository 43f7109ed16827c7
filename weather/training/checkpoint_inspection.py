"""Reads a whole checkpoint: digests of all files, every shard of every tensor, and whether the shards fill it."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, TensorStorageMetadata

from weather.errors import CheckpointError
from weather.training.checkpoint import read_checkpoint
from weather.training.checkpoint_digest import ALGORITHM, digest_file
from weather.training.checkpoint_reader import TensorReader

Advance = Callable[[int], None]


def inspect(path: Path, advance: Advance = lambda _: None) -> list[str]:
    """Everything that is wrong with a checkpoint, a line each; nothing if it is whole.

    Args:
        advance: told of bytes as they are read; each file is read twice, once for its digest and once for its tensors.
    """
    try:
        checkpoint = read_checkpoint(path)
    except CheckpointError as error:
        return [str(error)]
    problems = []
    for name, expected in sorted(checkpoint.files.items()):
        try:
            found = digest_file(path / name, advance)
        except OSError as error:
            problems.append(f"{path / name}: cannot be read ({error.strerror or error})")
            continue
        if found.bytes != expected.bytes:
            problems.append(f"{path / name}: it has {found.bytes} bytes, and {expected.bytes} were written")
        elif found != expected:
            problems.append(f"{path / name}: its {ALGORITHM} is not that of what was written")
    try:
        return problems + list(_tensor_problems(path, advance))
    except CheckpointError as error:
        return [*problems, str(error)]


def _tensor_problems(path: Path, advance: Advance) -> Iterator[str]:
    contents = TensorReader(path).read_metadata()
    places = {(index.fqn, tuple(index.offset or ())): place for index, place in contents.storage_data.items()}
    for name, entry in sorted(contents.state_dict_metadata.items()):
        assert isinstance(entry, TensorStorageMetadata)  # the reader lets nothing else through
        yield from (f"{path}: '{name}': {gap}" for gap in _coverage(tuple(entry.size), entry.chunks))
        for chunk in entry.chunks:
            part = f"'{name}'" + (f" at {list(chunk.offsets)}" if any(chunk.offsets) else "")
            place = places.get((name, tuple(chunk.offsets)))
            if place is None:
                yield f"{path}: {part} is stored nowhere"
                continue
            try:
                tensor = _read(path / place.relative_path, place.offset, place.length)
            except Exception as error:  # a damaged file can raise nearly anything
                line = " ".join(str(error).split())[:200]
                yield f"{path / place.relative_path}: {part} cannot be read ({type(error).__name__}: {line})"
                continue
            advance(place.length)
            if tuple(tensor.shape) != tuple(chunk.sizes) or tensor.dtype != entry.properties.dtype:
                yield (
                    f"{path / place.relative_path}: {part} is {tensor.dtype} {list(tensor.shape)}, "
                    f"and should be {entry.properties.dtype} {list(chunk.sizes)}"
                )
            elif tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                count = int((~torch.isfinite(tensor)).sum())
                yield f"{path / place.relative_path}: {part} holds {count} value(s) that are not finite"


def _read(path: Path, offset: int, length: int) -> torch.Tensor:
    with open(path, "rb") as file:
        file.seek(offset)
        tensor = torch.load(io.BytesIO(file.read(length)), map_location="cpu", weights_only=True)
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"it is a {type(tensor).__name__}, and no tensor")
    return tensor


def _coverage(shape: tuple[int, ...], chunks: list[ChunkStorageMetadata]) -> Iterator[str]:
    """What is wrong with the chunks of a tensor: inside it, without overlap and as large as it, they fill it."""
    if any(len(chunk.offsets) != len(shape) or len(chunk.sizes) != len(shape) for chunk in chunks):
        yield f"its parts have another number of dimensions than {list(shape)}"
        return
    begin = np.array([chunk.offsets for chunk in chunks], np.int64).reshape(len(chunks), len(shape))
    end = begin + np.array([chunk.sizes for chunk in chunks], np.int64).reshape(begin.shape)
    if (begin < 0).any() or (end > np.array(shape, np.int64)).any():
        yield f"a part reaches beyond its shape {list(shape)}"
        return
    for i in range(len(chunks)):
        overlaps = (begin[i] < end[i + 1 :]) & (begin[i + 1 :] < end[i])
        if len(overlaps) and overlaps.all(axis=1).any() and math.prod(chunks[i].sizes):
            yield "parts of it overlap"
            return
    covered = sum(math.prod(chunk.sizes) for chunk in chunks)
    if covered != math.prod(shape):
        yield f"{covered} of its {math.prod(shape)} values are stored"


def bytes_to_read(paths: list[Path]) -> int:
    """What `inspect` will have told `advance` of in the end, about."""
    return 2 * sum(file.stat().st_size for path in paths for file in path.rglob("*") if file.is_file())

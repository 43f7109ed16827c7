"""What two ranks do with a store of checkpoints; started by `test_checkpoints.py` with a folder as argument."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from weather.errors import CheckpointError, end_of_rank
from weather.training import checkpoint_store
from weather.training.checkpoint import MARKER, Progress, complete_checkpoints, load_tensors, read_checkpoint
from weather.training.checkpoint_digest import DigestingWriter
from weather.training.checkpoint_store import CheckpointStore
from weather.training.checkpoint_verify import verify

FACTS: dict[str, Any] = {"config": {}, "samples": {}, "strategy": "none", "world_size": 2}


def save(store: CheckpointStore, step: int, state: dict[str, torch.Tensor], spoil: bool = True) -> Path:
    """A complete checkpoint; its tensors are overwritten as soon as the save has returned."""
    saving = store.save(f"checkpoint_step_{step}", lambda: state, Progress(step=step), FACTS)
    if spoil:
        for tensor in state.values():
            (tensor.to_local() if hasattr(tensor, "to_local") else tensor).fill_(-1.0)
    store.wait()
    return saving.path


def replicated_tensors_are_shared_out(folder: Path, rank: int) -> None:
    store = CheckpointStore(folder, 0)
    state = {f"t{i}": torch.full((100, 100), float(i)) for i in range(10)}
    path = save(store, 1, {name: tensor.clone() for name, tensor in state.items()})
    sizes = [(path / f"__{r}_0.distcp").stat().st_size for r in (0, 1)]
    assert 0.9 < sizes[0] / sizes[1] < 1.1, sizes
    assert {file.name for file in path.iterdir()} == {MARKER, *read_checkpoint(path).files}, "of all ranks"
    back = {name: torch.empty(100, 100) for name in state}
    load_tensors(path, back)
    assert all(torch.equal(back[name], state[name]) for name in state)
    held = store._snapshot._buffers
    assert sum(tensor.nbytes for tensor in held.values()) == 5 * 40_000, "nobody copies what another rank writes"


def subsets_are_merged(folder: Path, rank: int) -> None:
    store = CheckpointStore(folder, 0)
    save(store, 1, {f"only.{rank}": torch.full((7,), float(rank)), "both": torch.ones(3)})
    back = {"only.0": torch.empty(7), "only.1": torch.empty(7), "both": torch.empty(3)}
    load_tensors(folder / "checkpoint_step_1", back)
    assert [float(back[name].mean()) for name in ("only.0", "only.1", "both")] == [0.0, 1.0, 1.0]
    verify(read_checkpoint(folder / "checkpoint_step_1"))


def shards_are_copied(folder: Path, rank: int) -> None:
    torch.manual_seed(0)
    model = nn.Linear(33, 17)
    whole = {name: p.detach().clone() for name, p in model.named_parameters()}
    fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
    store = CheckpointStore(folder, 0)
    for step in (1, 2):  # the second time into the same memory
        state = {name: p.detach() for name, p in model.named_parameters()}
        with torch.no_grad():
            for name, p in state.items():
                p.to_local().copy_(whole[name].chunk(2)[rank] * step)
        path = save(store, step, state)
        back = {name: torch.empty(tensor.shape) for name, tensor in whole.items()}
        load_tensors(path, back)
        assert all(torch.equal(back[name], whole[name] * step) for name in whole)


def a_failure_on_one_rank_is_raised_on_all(folder: Path, rank: int) -> None:
    store = CheckpointStore(folder, 1)
    save(store, 1, {"x": torch.ones(3), "y": torch.ones(3)})
    write = DigestingWriter.write_data

    def fail(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    if rank == 1:
        DigestingWriter.write_data = fail  # type: ignore[method-assign]
    state = {"x": torch.ones(3), "y": torch.ones(3)}
    store.save("checkpoint_step_2", lambda: state, Progress(step=2), FACTS)
    try:
        store.wait()
    except CheckpointError as error:
        assert "No space left on device" in str(error) and error.agreed
    else:
        raise AssertionError("the failure was not raised here")
    DigestingWriter.write_data = write  # type: ignore[method-assign]
    assert [c.progress.step for c in complete_checkpoints(folder)] == [1]
    save(store, 3, state)
    assert [c.progress.step for c in complete_checkpoints(folder)] == [3]


def a_failure_that_only_one_rank_knows_of_is_raised_on_all(folder: Path, rank: int) -> None:
    store = CheckpointStore(folder, 1)
    write = checkpoint_store.dcp.save

    def fail_after(*args: Any, **kwargs: Any) -> Any:
        write(*args, **kwargs)
        raise MemoryError

    if rank == 1:
        checkpoint_store.dcp.save = fail_after
    state = {"x": torch.ones(3)}
    store.save("checkpoint_step_1", lambda: state, Progress(step=1), FACTS)
    try:
        store.wait()
    except CheckpointError as error:
        assert "MemoryError" in str(error)
    else:
        raise AssertionError("the failure was not raised here")
    finally:
        checkpoint_store.dcp.save = write


def training_may_use_its_own_group_meanwhile(folder: Path, rank: int) -> None:
    store = CheckpointStore(folder, 2)
    total = torch.zeros(1)
    for step in range(1, 4):
        store.save(f"checkpoint_step_{step}", lambda: {"x": torch.ones(1000)}, Progress(step=step), FACTS)
        for _ in range(200):
            dist.all_reduce(total.fill_(1.0))
            assert total.item() == 2.0
    assert [saving.step for saving in store.wait()] == [1, 2, 3]


PARTS = (
    replicated_tensors_are_shared_out,
    subsets_are_merged,
    shards_are_copied,
    a_failure_on_one_rank_is_raised_on_all,
    a_failure_that_only_one_rank_knows_of_is_raised_on_all,
    training_may_use_its_own_group_meanwhile,
)

if __name__ == "__main__":
    dist.init_process_group("gloo")
    for part in PARTS:
        part(Path(sys.argv[1]) / part.__name__, dist.get_rank())
        if dist.get_rank() == 0:
            print(f"passed: {part.__name__}", flush=True)
        dist.barrier()
    dist.destroy_process_group()
    end_of_rank(0)

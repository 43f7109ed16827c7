"""A model that comes back from a checkpoint forecasts as it did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tests.archives import WrittenArchive
from weather.config.wrapper import ConfigWrapper
from weather.data.archive import Archive, open_archive
from weather.model.transformer import WeatherTransformer
from weather.runtime.device import choose_device
from weather.runtime.ranks import Ranks
from weather.runtime.seeds import seed_weights
from weather.training.checkpoint import Progress, read_checkpoint
from weather.training.checkpoint_store import CheckpointStore
from weather.training.restore import Forecaster, restore

MODEL = {"embed_dim": 32, "num_layers": 2, "num_heads": 2, "patch_size": 4, "compile": "blocks"}
CONFIG = ConfigWrapper({"model": {**MODEL, "img_size": [8, 16], "input_channels": 3, "output_channels": 3}})
FACTS = {"config": CONFIG.to_dict(), "samples": {}, "strategy": "single", "world_size": 1}


@pytest.fixture
def archive(make_archive: Callable[..., WrittenArchive]) -> Archive:
    return open_archive(make_archive(grid=(8, 16)).section())


@pytest.fixture
def saved(tmp_path: Path) -> Iterator[tuple[WeatherTransformer, Path]]:
    """A model, and a checkpoint of it."""
    seed_weights(1)
    model = WeatherTransformer(CONFIG.model).eval()
    store = CheckpointStore(tmp_path, 1, asynchronous=False)
    state = {f"model.{name}": parameter.detach() for name, parameter in model.named_parameters()}
    saving = store.save("checkpoint_step_1", lambda: state, Progress(step=1), FACTS)
    store.close()
    yield model, saving.path


def forecaster(path: Path, archive: Archive, device: str) -> Forecaster:
    return restore(CONFIG, read_checkpoint(path), archive, choose_device(device, "fp32", Ranks()))


def compiled(forecaster: Forecaster) -> set[bool]:
    """Whether each block is."""
    return {block._compiled_call_impl is not None for block in forecaster.model.blocks}


def test_a_cpu_forecasts_the_same_and_compiles_nothing(
    saved: tuple[WeatherTransformer, Path], archive: Archive
) -> None:
    model, path = saved
    states = torch.randn(3, 1, 3, 8, 16, generator=torch.Generator().manual_seed(0))
    restored = forecaster(path, archive, "cpu")
    assert compiled(restored) == {False} and not restored.model.training
    with torch.no_grad():
        torch.testing.assert_close(restored(states, None), model(states), rtol=0, atol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_compiles_what_was_compiled_in_training(saved: tuple[WeatherTransformer, Path], archive: Archive) -> None:
    model, path = saved
    restored = forecaster(path, archive, "cuda")
    assert compiled(restored) == {True}
    for batch in (3, 2):  # the last of an evaluation is smaller
        states = torch.randn(batch, 1, 3, 8, 16, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            expected = model(states)
        # float32 without TF32, sums in another order.
        torch.testing.assert_close(restored(states.cuda(), None).cpu(), expected, atol=1e-4, rtol=1e-4)

"""What a run is said to keep in memory and on disk is what it keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.archives import WrittenArchive
from weather.config.wrapper import ConfigWrapper
from weather.model.transformer import WeatherTransformer
from weather.runtime.ranks import Ranks
from weather.strategies import find_strategy
from weather.strategies.single import SingleProcess
from weather.study.design.costing import cost_run, planned_device, planned_ranks, prepare_run
from weather.study.design.memory import MemoryEstimate, checkpoint_bytes, estimate_memory
from weather.training.assembly import assemble
from weather.training.trainer import WeatherTrainer

MODEL = {"embed_dim": 32, "num_layers": 2, "num_heads": 2, "patch_size": 4}


@pytest.fixture
def config(make_archive: Callable[..., WrittenArchive]) -> ConfigWrapper:
    archive = make_archive(grid=(8, 16))
    return ConfigWrapper({"model": MODEL, "data": {"data_dir": str(archive.folder)}, "training": {"max_steps": 3}})


def estimate(config: ConfigWrapper, ranks: int, device: str = "cuda") -> MemoryEstimate:
    prepared = prepare_run(config)
    chosen = planned_device(device, config.training.precision)
    batches = find_strategy(config.training.strategy).plan(config, planned_ranks(ranks))
    return estimate_memory(prepared.config, prepared.cost, batches, ranks=ranks, device=chosen)


def test_states_and_buffers_are_those_of_a_real_run(config: ConfigWrapper) -> None:
    config = config.replace({"training.ema_decay": 0.9})
    device = planned_device("cpu", "fp32")
    run = assemble(prepare_run(config), SingleProcess(prepare_run(config).config, device, Ranks()), None)
    forecast = run.strategy.module(run.normalizer.normalize(next(run.batches(0)).fields)[:, :-1])
    run.strategy.backward(forecast.square().mean())
    run.strategy.create_moments()
    gradients = [gradient for _, gradient in run.strategy.gradients() if gradient is not None]
    moments = [*run.strategy.moments("exp_avg").values(), *run.strategy.moments("exp_avg_sq").values()]
    assert run.average is not None
    found = estimate(config, 1, "cpu")
    assert found.weights == size(run.strategy.weights().values())
    assert found.gradients == size(gradients)
    assert found.moments == size(moments)
    assert found.average == size(run.average.average.values())
    batch = run.loader._buffers[0].nbytes
    assert found.batches == size(run.loader._buffers) + size(run.validator.loader._buffers) + batch
    run.close()


def size(tensors: Any) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def test_slices_by_strategy(config: ConfigWrapper) -> None:
    """P parameters of 4 bytes: the table of Rajbhandari et al. 2020, figure 1, with fp32 gradients."""
    whole = 4 * prepare_run(config).cost.parameters

    def of(strategy: str, **more: Any) -> MemoryEstimate:
        values = {"training.strategy": strategy, "training.precision": "bf16", **more}
        return estimate(config.replace(values), 4)

    zero = {
        stage: of("deepspeed", **{"training.deepspeed_config": f"ds_configs/zero{stage}.json"}) for stage in range(4)
    }
    quarter = pytest.approx(whole / 4, abs=4)
    assert zero[0] == of("ddp")
    assert (zero[0].moments, zero[1].moments) == (2 * whole, pytest.approx(whole / 2, abs=8))
    assert zero[1].weights == pytest.approx(whole / 2 + whole / 4, abs=4), "16-bit weights, a quarter of the fp32 ones"
    bucket = 6 * prepare_run(config).cost.parameters
    assert (zero[1].gradients - bucket, zero[2].gradients - bucket) == (whole, quarter)
    offloaded = of("deepspeed", **{"training.deepspeed_config": "ds_configs/zero3_offload.json"})
    assert offloaded.moments == 0
    assert offloaded.weights < zero[3].weights
    assert of("fsdp").moments == 2 * of("fsdp").moments / 2 == pytest.approx(whole / 2, abs=8)
    assert of("fsdp", **{"training.shard_size": 2}).moments == whole
    assert of("fsdp", **{"training.cpu_offload": True}).moments == 0
    assert of("fsdp", **{"training.reshard_after_forward": False}).weights >= of("fsdp").weights
    accumulated = of("fsdp", **{"training.batch_size": 8, "training.micro_batch_size": 1})
    assert accumulated.gradients == pytest.approx(whole / 4 + whole, abs=4), "whole until the last micro-batch"


def test_a_micro_batch_of_half_the_size_keeps_half(config: ConfigWrapper) -> None:
    one, two = (estimate(config.replace({"training.micro_batch_size": micro}), 1) for micro in (1, 2))
    assert (two.activations, two.batches) == (2 * one.activations, 2 * one.batches)
    assert two.weights == one.weights


def test_checkpoints_on_disk_have_the_size_that_was_planned(config: ConfigWrapper, tmp_path: Any) -> None:
    config = config.replace(
        {
            "experiment.name": "a",
            "experiment.runs_dir": str(tmp_path / "runs"),
            "training.checkpoint_dir": str(tmp_path / "checkpoints"),
            "training.max_steps": 8,
            "training.epochs": 9,
            "training.save_every_steps": 2,
            "training.save_at_steps": [2, 4],
            "training.max_checkpoints": 1,
            "training.save_frequency": 0,
            "training.eval_frequency": 0,
            "training.warmup_steps": 1,
        }
    )
    resolved, cost = cost_run(config, device="cpu")
    WeatherTrainer(config, device="cpu").train()
    shards = list((tmp_path / "checkpoints" / "a").glob("checkpoint_*/*.distcp"))
    assert {path.parent.name.removeprefix("checkpoint_") for path in shards} == {"step_2", "step_4", "step_8"}
    assert cost.storage_bytes == 3 * checkpoint_bytes(resolved, prepare_run(config).cost)
    # torch.save puts a header of some 1.6 kB about each tensor.
    headers = 3 * 3 * len(list(WeatherTransformer(resolved.model).parameters())) * 2000
    assert cost.storage_bytes <= sum(path.stat().st_size for path in shards) <= cost.storage_bytes + headers

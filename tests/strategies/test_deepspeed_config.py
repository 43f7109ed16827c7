"""What a DeepSpeed file may say beside the run's config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from weather.config.wrapper import ConfigWrapper
from weather.errors import ConfigError
from weather.runtime.device import Device
from weather.runtime.ranks import Ranks
from weather.strategies import deepspeed_package
from weather.strategies.batches import BatchPlan
from weather.strategies.deepspeed_config import REPOSITORY, fill_sizes, find_file, resolve
from weather.strategies.deepspeed_package import launcher_variables, require_deepspeed
from weather.strategies.zero import DeepSpeed, balanced_owners

PLAN = BatchPlan(global_batch=16, micro_batch=2, accumulation=4)
TWO = Ranks(0, 2, 0, 2, "torchrun")


def device(precision: str = "fp32") -> Device:
    return Device("cpu", torch.device("cpu"), precision, "gloo")


def config(path: Path | str | None, **model: Any) -> ConfigWrapper:
    training = {"strategy": "deepspeed", "deepspeed_config": None if path is None else str(path), "batch_size": 16}
    return ConfigWrapper({"training": {**training, "micro_batch_size": 2}, "model": model})


def resolved(folder: Path, document: Any, precision: str = "fp32") -> dict[str, Any]:
    path = folder / "mine.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return resolve(config(path), PLAN, device(precision))


def refusal(folder: Path, document: Any, precision: str = "fp32") -> str:
    with pytest.raises(ConfigError) as caught:
        resolved(folder, document, precision)
    assert "mine.json" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("value", ["auto", None])
def test_what_the_config_says_is_filled(tmp_path: Path, value: str | None) -> None:
    keys = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping")
    document: dict[str, Any] = {"zero_optimization": {"stage": 2}}
    if value is not None:
        document |= dict.fromkeys(keys, value) | {"bf16": {"enabled": value}, "fp16": {"enabled": value}}
    filled = resolved(tmp_path, document, "bf16")
    assert [filled[key] for key in keys] == [16, 2, 4, 1.0]
    assert filled["bf16"]["enabled"] is True and filled["fp16"]["enabled"] is False
    assert filled["communication_data_type"] == filled["data_types"]["grad_accum_dtype"] == "fp32"


def test_agreement_is_no_harm(tmp_path: Path) -> None:
    document = {"train_batch_size": 16, "gradient_clipping": 1, "bf16": {"enabled": False}}
    assert resolved(tmp_path, document | {"zero_optimization": {"stage": 1}})["train_batch_size"] == 16


@pytest.mark.parametrize(
    ("document", "both"),
    [
        ({"train_batch_size": 32}, ("32", "16", "training.batch_size")),
        ({"train_micro_batch_size_per_gpu": 1}, ("1", "2", "training.micro_batch_size")),
        ({"gradient_accumulation_steps": 1}, ("1", "4", "training.batch_size")),
        ({"gradient_clipping": 0.5}, ("0.5", "1.0", "training.gradient_clipping")),
        ({"gradient_clipping": True}, ("true", "1.0", "training.gradient_clipping")),
        ({"bf16": {"enabled": True}}, ("true", "false", "training.precision")),
        ({"fp16": {"enabled": True}}, ("true", "false", "training.precision")),
        ({"communication_data_type": "bf16"}, ('"bf16"', '"fp32"', "reductions")),
        ({"data_types": {"grad_accum_dtype": "bf16"}}, ('"bf16"', '"fp32"', "reductions")),
        ({"zero_force_ds_cpu_optimizer": True}, ("true", "false", "AdamW")),
    ],
)
def test_disagreement_names_both_values(tmp_path: Path, document: dict[str, Any], both: tuple[str, ...]) -> None:
    text = refusal(tmp_path, document | {"zero_optimization": {"stage": 1}})
    assert next(iter(document)) in text
    for part in both:
        assert part in text


def test_precision_that_the_file_forbids(tmp_path: Path) -> None:
    text = refusal(tmp_path, {"bf16": {"enabled": False}, "zero_optimization": {"stage": 1}}, "bf16")
    assert "bf16.enabled is false, but true follows from training.precision" in text


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("optimizer", "AdamW"),
        ("scheduler", "training.schedule"),
        ("amp", "training.precision"),
        ("tensorboard", "metrics.jsonl"),
        ("flops_profiler", "FLOPs"),
        ("prescale_gradients", "mean over ranks"),
        ("tensor_parallel", "not tested"),
    ],
)
def test_what_is_ours_or_untested_is_refused(tmp_path: Path, key: str, reason: str) -> None:
    text = refusal(tmp_path, {key: {}})
    assert f"'{key}' is not taken" in text and reason in text


@pytest.mark.parametrize("key", ["mics_shard_size", "zero_hpz_partition_size", "zero_quantized_weights", "zenflow"])
def test_what_checkpoints_cannot_read_is_refused(tmp_path: Path, key: str) -> None:
    assert f"'zero_optimization.{key}' is not taken" in refusal(tmp_path, {"zero_optimization": {key: 2}})


@pytest.mark.parametrize(
    ("document", "meant"),
    [
        ({"gradient_cliping": 1.0}, "did you mean 'gradient_clipping'?"),
        ({"zero_optimisation": {"stage": 1}}, "did you mean 'zero_optimization'?"),
        ({"zero_optimization": {"stge": 1}}, "did you mean 'stage'?"),
        ({"zero_optimization": {"offload_optimizer": {"devise": "cpu"}}}, "unknown key"),
        ({"fp16": {"loss_scal": 0}}, "did you mean 'loss_scale'?"),
    ],
)
def test_misspelt_keys_are_not_left_aside(tmp_path: Path, document: dict[str, Any], meant: str) -> None:
    assert meant in refusal(tmp_path, {"zero_optimization": {"stage": 3}} | document)


@pytest.mark.parametrize(
    ("zero", "rule"),
    [
        ({"stage": 4}, "0, 1, 2 or 3"),
        ({"stage": "two"}, "0, 1, 2 or 3"),
        ({"stage": True}, "0, 1, 2 or 3"),
        ({"stage": 1, "overlap_comm": "yes"}, "true or false"),
        ({"stage": 1, "reduce_bucket_size": -1}, "whole number"),
        ({"stage": 1, "reduce_bucket_size": "big"}, "whole number"),
        ({"stage": 1, "reduce_bucket_size": 1.5}, "whole number"),
        ({"stage": 3, "offload_optimizer": "cpu"}, "a section"),
        ({"stage": 3, "offload_param": {"device": "nvme"}}, "cpu or none"),
        ({"stage": 2, "stage3_prefetch_bucket_size": 10}, "only stage 3"),
        ({"stage": 0, "offload_optimizer": {"device": "cpu"}}, "stages 1 to 3"),
    ],
)
def test_values_that_cannot_be(tmp_path: Path, zero: dict[str, Any], rule: str) -> None:
    assert rule in refusal(tmp_path, {"zero_optimization": zero})


def test_a_section_is_in_braces(tmp_path: Path) -> None:
    assert "a section in braces" in refusal(tmp_path, {"zero_optimization": 3})


def test_stage_0_leaves_16_bits_to_autocast(tmp_path: Path) -> None:
    filled = resolved(tmp_path, {"bf16": {"enabled": "auto"}, "zero_optimization": {"stage": 0}}, "bf16")
    assert filled["bf16"]["enabled"] is False
    text = refusal(tmp_path, {"bf16": {"enabled": True}, "zero_optimization": {"stage": 0}}, "bf16")
    assert "at stage 0" in text and "stage 1" in text


def test_loss_scaling_is_dynamic_and_that_of_the_other_strategies(tmp_path: Path) -> None:
    filled = resolved(tmp_path, {"zero_optimization": {"stage": 1}}, "fp16")["fp16"]
    scaler = torch.amp.GradScaler("cpu")
    assert 2 ** filled["initial_scale_power"] == scaler.get_scale()
    assert filled["loss_scale_window"] == scaler.get_growth_interval()
    assert (filled["enabled"], filled["loss_scale"], filled["hysteresis"]) == (True, 0, 1)
    kept = resolved(tmp_path, {"fp16": {"loss_scale_window": 100}, "zero_optimization": {"stage": 1}}, "fp16")
    assert kept["fp16"]["loss_scale_window"] == 100
    document = {"fp16": {"loss_scale": 128}, "zero_optimization": {"stage": 1}}
    assert "fp16.loss_scale = 128" in refusal(tmp_path, document, "fp16")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{"zero_optimization": {"stage": 1,}}', "line 1, column 35"),
        ('{"zero_optimization":\n  {stage: 1}}', "line 2, column 4"),
        ("[1]", "not a JSON object"),
        ('{"bf16": {"enabled": true, "enabled": false}}', "'enabled' stands there twice"),
    ],
)
def test_files_that_are_no_json(tmp_path: Path, text: str, what: str) -> None:
    assert what in refusal(tmp_path, text)


def test_a_file_is_found_from_here_and_from_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_file(None) == REPOSITORY / "ds_configs/zero1.json"
    (tmp_path / "ds_configs").mkdir()
    mine = tmp_path / "ds_configs/zero1.json"
    mine.write_text("{}")
    assert find_file("ds_configs/zero1.json").resolve() == mine
    with pytest.raises(ConfigError, match="ds_configs/zero3_offload.json"):
        find_file("zero7.json")


@pytest.mark.parametrize("path", sorted(REPOSITORY.glob("ds_configs/*.json")), ids=lambda path: path.stem)
def test_our_own_files_are_taken(path: Path) -> None:
    shapes = {"weight": torch.Size((40, 3)), "bias": torch.Size((3,))}
    filled = fill_sizes(resolve(config(path), PLAN, device()), config(path), shapes)
    assert "auto" not in json.dumps(filled)
    if path.stem != "safe":
        assert filled["zero_optimization"]["reduce_bucket_size"] == 124  # the model's 123, made even
        assert resolve(config(path), PLAN, device("bf16"))


def test_large_models_travel_in_buckets(tmp_path: Path) -> None:
    shapes = {"weight": torch.Size((10_000, 10_000))}
    document = resolved(tmp_path, {"zero_optimization": {"stage": 3, "reduce_bucket_size": 5e8}})
    zero = fill_sizes(document, config(None, embed_dim=64), shapes)["zero_optimization"]
    assert zero["allgather_bucket_size"] == 20_000_000 and zero["reduce_bucket_size"] == 5e8
    assert zero["stage3_param_persistence_threshold"] == 640


def test_selective_checkpointing_at_stage_3_is_refused() -> None:
    pytest.importorskip("deepspeed")
    for path, fails in (("ds_configs/zero3.json", True), ("ds_configs/zero2.json", False)):
        settings = config(path, activation_checkpointing="selective")
        if not fails:
            DeepSpeed.validate(settings, TWO, device())
            continue
        with pytest.raises(ConfigError, match="selective with ZeRO stage 3.*full"):
            DeepSpeed.validate(settings, TWO, device())


def test_fp16_needs_a_processor_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("deepspeed")
    monkeypatch.setattr("weather.strategies.zero.cpu_has_fp16", lambda: False)
    DeepSpeed.validate(config("ds_configs/zero0.json"), TWO, device("fp16"))
    with pytest.raises(ConfigError, match="precision fp16 with ZeRO stage 1 on this processor"):
        DeepSpeed.validate(config(None), TWO, device("fp16"))


@pytest.mark.parametrize(("version", "what"), [(None, "not installed"), ("0.16.4", "0.16.4"), ("0.20.0", "0.20.0")])
def test_deepspeed_itself(monkeypatch: pytest.MonkeyPatch, version: str | None, what: str) -> None:
    def find(name: str) -> str:
        if version is None:
            raise deepspeed_package.importlib.metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(deepspeed_package.importlib.metadata, "version", find)
    with pytest.raises(ConfigError, match="pip install 'deepspeed>=0.19,<0.20'") as caught:
        require_deepspeed()
    assert what in str(caught.value)


def test_local_rank_is_that_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """One visible device for each task: the third local rank uses device 0, and gets its variables back."""
    import os

    monkeypatch.setenv("OMPI_COMM_WORLD_LOCAL_RANK", "3")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    gpu = Device("cuda", torch.device("cuda", 0), "bf16", "nccl")
    with launcher_variables(gpu, Ranks(3, 4, 3, 4, "OpenMPI")):
        assert os.environ["LOCAL_RANK"] == os.environ["OMPI_COMM_WORLD_LOCAL_RANK"] == "0"
    assert "LOCAL_RANK" not in os.environ and os.environ["OMPI_COMM_WORLD_LOCAL_RANK"] == "3"


def test_owners_share_the_elements() -> None:
    shapes = {f"weight_{n}": torch.Size((n, 10)) for n in range(1, 21)}
    owners = balanced_owners(shapes, 4)
    loads = [sum(shapes[name].numel() for name in shapes if owners[name] == rank) for rank in range(4)]
    assert sum(loads) == 2100 and max(loads) - min(loads) <= 30
    assert balanced_owners(dict(reversed(list(shapes.items()))), 4) == owners

"""Reads DeepSpeed's JSON file, fills its "auto" values from the run's config, and refuses what disagrees with it.

A value of the file that says what the config also says (batch, accumulation, clipping, precision) is best left out or
"auto"; a number there must be the same. What the file alone decides is how ZeRO works. The files of ds_configs/:

- zero0.json: nothing sliced. For comparison; `--strategy ddp` does the same.
- zero1.json: moments and fp32 weights sliced. The default: no more communication than ddp.
- zero2.json: gradients sliced as well; they travel after every micro-batch.
- zero3.json: all weights sliced too, gathered where they are needed; parameters of fewer than 10 x embed_dim elements
  stay gathered.
- zero3_offload.json: stage 3 with fp32 weights, moments and their step in host memory, and the sliced weights too.
- safe.json: for hunting errors: stage 1 in fp32 only (start it with --precision fp32), no overlap of communication and
  computation, no contiguous copy of gradients, small buckets.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from weather.config.wrapper import ConfigWrapper
from weather.errors import ConfigError, did_you_mean
from weather.runtime.device import Device
from weather.strategies.batches import BatchPlan
from weather.strategies.deepspeed_keys import (
    FLAG,
    FP16_DEFAULTS,
    REFUSED,
    SECTIONS,
    SINGLE_KEYS,
    SIZE,
    ZERO_KEYS,
    ZERO_REFUSED,
)

DEFAULT_FILE = "ds_configs/zero1.json"
REPOSITORY = Path(__file__).resolve().parents[2]
LARGEST_BUCKET = 20_000_000  # elements that travel together; more in one message is hardly faster


def resolve(config: ConfigWrapper, batches: BatchPlan, device: Device) -> dict[str, Any]:
    """What DeepSpeed is to be told; sizes may still be "auto" (see `fill_sizes`).

    Raises:
        ConfigError: the file cannot be read, disagrees with the config, or asks for what cannot be kept.
    """
    path = find_file(config.training.deepspeed_config)
    document = read_json(path)
    check_keys(document, path)
    zero = document.setdefault("zero_optimization", {})
    zero.setdefault("stage", 0)
    check_zero(zero, path)
    half = device.precision if zero["stage"] > 0 else ""
    if zero["stage"] == 0:
        _check_stage_0(document, path)
    expected: dict[str, tuple[Any, str]] = {
        "train_batch_size": (batches.global_batch, "training.batch_size"),
        "train_micro_batch_size_per_gpu": (batches.micro_batch, "training.micro_batch_size and the ranks"),
        "gradient_accumulation_steps": (batches.accumulation, "training.batch_size, micro_batch_size and the ranks"),
        "gradient_clipping": (config.training.gradient_clipping, "training.gradient_clipping"),
        "bf16.enabled": (half == "bf16", "training.precision"),
        "fp16.enabled": (half == "fp16", "training.precision"),
        "communication_data_type": ("fp32", "the rule that reductions stay fp32"),
        "data_types.grad_accum_dtype": ("fp32", "the rule that reductions stay fp32"),
        "zero_allow_untested_optimizer": (True, "this project's AdamW"),
        "zero_force_ds_cpu_optimizer": (False, "this project's AdamW"),
    }
    for key, (wanted, source) in expected.items():
        _fill(document, key, wanted, source, path)
    if half != "fp16":
        document["fp16"] = {"enabled": False}
    for key, value in FP16_DEFAULTS.items() if half == "fp16" else ():
        if document["fp16"].get(key, "auto") == "auto":
            document["fp16"][key] = value
    if document["fp16"].get("loss_scale", 0) != 0:
        raise ConfigError(
            f"fp16.loss_scale = {document['fp16']['loss_scale']}",
            where=path,
            rule="the loss scale is found during training, and kept in checkpoints",
            fix="leave it out",
        )
    for key in ("offload_optimizer", "offload_param"):
        if zero.get(key, {}).get("pin_memory") == "auto":
            zero[key]["pin_memory"] = device.torch_device.type == "cuda"
    document["timers"] = {"throughput": {"enabled": False}}  # it waits for the device in every step
    return document


def fill_sizes(document: Mapping[str, Any], config: ConfigWrapper, shapes: Mapping[str, torch.Size]) -> dict[str, Any]:
    """A copy without "auto": buckets no larger than the model, which DeepSpeed's own of 2 GB would be.

    Args:
        shapes: of the parameters.
    """
    filled = copy.deepcopy(dict(document))
    zero = filled["zero_optimization"]
    bucket = min(LARGEST_BUCKET, sum(shape.numel() for shape in shapes.values()))
    bucket += bucket % 2  # DeepSpeed wants it even
    sizes = {"reduce_bucket_size": bucket, "allgather_bucket_size": bucket}
    if zero["stage"] == 3:
        sizes["stage3_prefetch_bucket_size"] = bucket
        sizes["stage3_param_persistence_threshold"] = 10 * config.model.embed_dim
    for key, size in sizes.items():
        if zero.get(key, "auto") == "auto":
            zero[key] = size
    filled["zero_optimization"] = {key: value for key, value in zero.items() if value != "auto"}
    return filled


def find_file(name: str | None) -> Path:
    """The file from the working directory, else from the repository.

    Raises:
        ConfigError: it is in neither; lists those of ds_configs/.
    """
    wanted = Path(name or DEFAULT_FILE).expanduser()
    for path in (wanted, REPOSITORY / wanted):
        if path.is_file():
            return path
    known = sorted(str(path.relative_to(REPOSITORY)) for path in REPOSITORY.glob("ds_configs/*.json"))
    raise ConfigError(
        f"there is no file '{wanted}'",
        where="training.deepspeed_config",
        rule=f"looked for in {Path.cwd()} and {REPOSITORY}",
        fix=f"there are: {', '.join(known)}" if known else "",
    )


def read_json(path: Path) -> dict[str, Any]:
    """The file's object.

    Raises:
        ConfigError: it is no JSON (with line and column), no object, or has a key twice.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise ConfigError(f"'{twice}' stands there twice", where=path, fix="leave one of them")
        return dict(pairs)

    try:
        document = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"not JSON: {error.msg}", where=f"{path}, line {error.lineno}, column {error.colno}"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read ({error})", where=path) from error
    if not isinstance(document, dict):
        raise ConfigError("not a JSON object", where=path, rule='it looks like {"zero_optimization": {"stage": 1}}')
    return document


def check_keys(document: Mapping[str, Any], path: Path) -> None:
    """Refuse keys that DeepSpeed would silently leave aside, and those that are this project's own to decide."""
    known = (*SINGLE_KEYS, *SECTIONS)
    for key, value in document.items():
        _refuse_key(key, key, known, REFUSED, path)
        if key not in SECTIONS:
            continue
        if not isinstance(value, dict):
            raise ConfigError(f"'{key}' is {value!r}", where=path, rule="it is a section in braces")
        for name in value:
            reasons = ZERO_REFUSED if key == "zero_optimization" else {}
            _refuse_key(name, f"{key}.{name}", tuple(sorted(SECTIONS[key])), reasons, path)


def check_zero(zero: dict[str, Any], path: Path) -> None:
    """Refuse values that are no stage, flag, size or section, and what cannot be offloaded."""
    good = {
        FLAG: lambda value: isinstance(value, bool),
        SIZE: lambda value: value == "auto" or (not isinstance(value, bool) and value == int(value) and value >= 0),
        "a section": lambda value: isinstance(value, dict),
        ZERO_KEYS["stage"]: lambda value: not isinstance(value, bool) and value in (0, 1, 2, 3),
    }
    for key, value in zero.items():
        try:
            fits = good[ZERO_KEYS[key]](value)
        except (TypeError, ValueError):
            fits = False
        if not fits:
            raise ConfigError(f"zero_optimization.{key} = {value!r}", where=path, rule=f"it is {ZERO_KEYS[key]}")
    if zero["stage"] != 3:
        only_3 = [key for key in zero if key.startswith("stage3_") or key in ("offload_param", "sub_group_size")]
        if only_3:
            raise ConfigError(
                f"zero_optimization.{only_3[0]} at stage {zero['stage']}", where=path, rule="only stage 3 knows it"
            )
    for key in ("offload_optimizer", "offload_param"):
        for name, value in zero.get(key, {}).items():
            _refuse_key(name, f"zero_optimization.{key}.{name}", ("device", "pin_memory"), {}, path)
            if name == "device" and value not in ("cpu", "none"):
                raise ConfigError(
                    f"zero_optimization.{key}.device = {value!r}",
                    where=path,
                    rule="cpu or none; slices on disk are not read by the checkpoint",
                )


def _check_stage_0(document: Mapping[str, Any], path: Path) -> None:
    for section in ("bf16", "fp16"):
        for key, value in document.get(section, {}).items():
            if value not in ("auto", False):
                raise ConfigError(
                    f"{section}.{key} = {json.dumps(value)} at stage 0",
                    where=path,
                    rule="the forward pass is autocast over fp32 weights, by training.precision; DeepSpeed's own bf16 "
                    "at stage 0 corrects AdamW's bias wrongly",
                    fix='"auto", or stage 1',
                )
    if "offload_optimizer" in document.get("zero_optimization", {}):
        raise ConfigError("zero_optimization.offload_optimizer at stage 0", where=path, rule="stages 1 to 3 offload")


def _refuse_key(key: str, full: str, known: tuple[str, ...], reasons: Mapping[str, str], path: Path) -> None:
    if key in reasons:
        raise ConfigError(f"'{full}' is not taken", where=path, rule=reasons[key], fix="leave it out")
    if key not in known:
        raise ConfigError(
            f"unknown key '{full}'",
            where=path,
            rule=f"known: {', '.join(known)}",
            fix=did_you_mean(key, [*known, *reasons]),
        )


def _fill(document: dict[str, Any], key: str, wanted: Any, source: str, path: Path) -> None:
    section, _, name = key.rpartition(".")
    holder = document.setdefault(section, {}) if section else document
    found = holder.get(name, "auto")
    if found != "auto" and (found != wanted or isinstance(found, bool) != isinstance(wanted, bool)):
        raise ConfigError(
            f"{key} is {json.dumps(found)}, but {json.dumps(wanted)} follows from {source}",
            where=path,
            rule="the two must agree",
            fix='write "auto" there',
        )
    holder[name] = wanted

"""Types, ranges and cross-field rules of the schema."""

from __future__ import annotations

from typing import Any

import pytest

from weather.config.schema import SECTION_OF_KEY, SECTIONS
from weather.config.wrapper import ConfigWrapper
from weather.errors import ConfigError

KEYS_OTHERS_RELY_ON = {
    "model": (
        "embed_dim num_layers num_heads mlp_ratio patch_size img_size input_channels output_channels extra_channels "
        "sequence_length qkv_bias dropout attention_dropout stochastic_depth attention activation_checkpointing "
        "compile predict"
    ),
    "data": "data_dir dt data_subset temporal_coverage channels extra_inputs coarsen coarsen_by num_workers",
    "training": (
        "strategy precision batch_size micro_batch_size learning_rate weight_decay warmup_steps schedule "
        "cooldown_fraction epochs max_steps gradient_clipping seed flops_budget time_budget_hours log_frequency "
        "eval_frequency save_frequency save_every_steps save_every_minutes checkpoint_dir max_checkpoints"
    ),
    "logging": "use_wandb wandb_mode wandb_project",
    "experiment": "name description runs_dir",
}


def value_of(key: str, value: Any) -> Any:
    return ConfigWrapper({key: value}).get(key)


@pytest.mark.parametrize("section", KEYS_OTHERS_RELY_ON)
def test_fixed_key_names_exist(section: str) -> None:
    missing = set(KEYS_OTHERS_RELY_ON[section].split()) - set(SECTIONS[section].model_fields)
    assert not missing


def test_key_names_are_unique_over_all_sections() -> None:
    every_key = [key for section in SECTIONS.values() for key in section.model_fields]
    assert len(every_key) == len(set(every_key))
    assert set(SECTION_OF_KEY) == set(every_key) - set(SECTIONS["profile"].model_fields)
    assert not set(every_key) & set(SECTIONS), "a key named like a section could not be routed"


def test_every_key_is_documented() -> None:
    undocumented = [
        key for section in SECTIONS.values() for key, field in section.model_fields.items() if not field.description
    ]
    assert not undocumented


def test_defaults_are_valid_together() -> None:
    assert ConfigWrapper({}).model.embed_dim == 384


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("learning_rate", "1e-4", 1e-4),
        ("learning_rate", "3E-4", 3e-4),
        ("flops_budget", "1e20", 1e20),
        ("flops_budget", 10**20, 1e20),
        ("max_steps", "1e4", 10_000),
        ("max_steps", 1e4, 10_000),
        ("batch_size", "16", 16),
        ("batch_size", 16.0, 16),
        ("micro_batch_size", "4", 4),
        ("img_size", ["360", 7.2e2], (360, 720)),
        ("adam_betas", ["0.9", "9.5e-1"], (0.9, 0.95)),
        ("channel_weights", {"t2m": "2e0"}, {"t2m": 2.0}),
        ("mlp_ratio", 4, 4.0),
    ],
)
def test_numbers_written_as_text_become_numbers(key: str, text: Any, value: Any) -> None:
    found = value_of(key, text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("key", ["learning_rate", "seed", "batch_size", "micro_batch_size", "data_subset", "dropout"])
@pytest.mark.parametrize("value", [True, False])
def test_truth_values_are_no_numbers(key: str, value: bool) -> None:
    with pytest.raises(ConfigError, match=rf"{key} = {value}.*not a truth value"):
        ConfigWrapper({key: value})


@pytest.mark.parametrize("key", ["img_size", "adam_betas"])
def test_truth_values_are_no_numbers_in_lists(key: str) -> None:
    with pytest.raises(ConfigError, match="not a truth value"):
        ConfigWrapper({key: [True, True]})


@pytest.mark.parametrize("value", [True, False])
def test_truth_values_are_no_channels(value: bool) -> None:
    """YAML reads the bare word `no` (also a chemical species) as false, which must not become channel 0."""
    with pytest.raises(ConfigError, match="channels"):
        ConfigWrapper({"channels": ["t2m", value]})


def test_channel_called_like_a_number_stays_a_name() -> None:
    assert value_of("channels", ["500", 2]) == ["500", 2]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("embed_dim", 0),
        ("embed_dim", "wide"),
        ("num_layers", -1),
        ("patch_size", 8.5),
        ("patch_size", "8.5"),
        ("mlp_ratio", 0),
        ("img_size", [360]),
        ("img_size", [360, 720, 1]),
        ("img_size", [0, 720]),
        ("img_size", 720),
        ("input_channels", "some"),
        ("sequence_length", 0),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("qkv_bias", "perhaps"),
        ("attention", "fast"),
        ("predict", "weather"),
        ("compile", "all"),
        ("dt", 0),
        ("data_subset", 0),
        ("data_subset", 1.5),
        ("channels", []),
        ("channels", "t2m"),
        ("channels", ["t2m", "t2m"]),
        ("channels", [1, 1]),
        ("num_workers", -1),
        ("temporal_coverage", "5"),
        ("temporal_coverage", "5w"),
        ("temporal_coverage", "0y"),
        ("temporal_coverage", "-1y"),
        ("batch_size", 0),
        ("learning_rate", 0),
        ("learning_rate", "nan"),
        ("learning_rate", "1e400"),
        ("learning_rate", float("inf")),
        ("max_steps", float("inf")),
        ("max_steps", 0),
        ("weight_decay", -1),
        ("adam_betas", [0.9]),
        ("adam_betas", [0.9, 1.0]),
        ("warmup_steps", -1),
        ("schedule", "step"),
        ("cooldown_fraction", 0),
        ("flops_budget", 0),
        ("time_budget_hours", -1),
        ("channel_weights", {"t2m": -1}),
        ("seed", -1),
        ("seed", 2**32),
        ("log_frequency", 0),
        ("max_checkpoints", -1),
        ("precision", "fp8"),
        ("precision", [16]),
        ("wandb_mode", "later"),
        ("name", "../elsewhere"),
        ("name", "two words"),
        ("name", ""),
    ],
)
def test_impossible_value_is_refused_by_key_and_value(key: str, value: Any) -> None:
    with pytest.raises(ConfigError) as refusal:
        ConfigWrapper({key: value}, source="some.yaml")
    assert f"{SECTION_OF_KEY[key]}.{key} = " in str(refusal.value)
    assert str(refusal.value).startswith("some.yaml: ")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            {"num_layers": 1, "stochastic_depth": 0.1},
            "stochastic_depth grows from 0 at the first block.*needs 2 blocks",
        ),
        (
            {"embed_dim": 8, "num_heads": 2, "mlp_ratio": 0.05},
            "mlp_ratio 0.05 leaves the MLP of 8 dims no hidden width",
        ),
    ],
)
def test_model_without_what_is_asked_of_it_is_refused(model: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ConfigWrapper({"model": model})
    assert value_of("stochastic_depth", 0.1) == 0.1
    assert ConfigWrapper({"model": {"num_layers": 1, "stochastic_depth": 0}}).model.num_layers == 1


@pytest.mark.parametrize(
    ("written", "meant"),
    [("bf16-mixed", "bf16"), ("16-mixed", "fp16"), ("32-true", "fp32"), (32, "fp32"), ("32", "fp32"), ("fp16", "fp16")],
)
def test_precision_aliases(written: Any, meant: str) -> None:
    assert value_of("precision", written) == meant


@pytest.mark.parametrize(("written", "meant"), [(False, "none"), ("none", "none"), ("blocks", "blocks")])
def test_compile_may_be_switched_off(written: Any, meant: str) -> None:
    assert value_of("compile", written) == meant


@pytest.mark.parametrize("span", ["1y", "6m", "90d", "2.5y", "0.5m"])
def test_temporal_coverage_spans(span: str) -> None:
    assert value_of("temporal_coverage", span) == span


def test_a_run_has_one_beginning() -> None:
    with pytest.raises(ConfigError, match="initial_weights begin a run at step 0.*one beginning"):
        ConfigWrapper({"branch_from": "one", "initial_weights": "other"})


def test_heads_divide_the_width() -> None:
    with pytest.raises(ConfigError, match=r"embed_dim 380 .* num_heads 8: nearest valid embed_dim 376 or 384"):
        ConfigWrapper({"embed_dim": 380, "num_heads": 8})


def test_nearest_width_is_never_zero() -> None:
    with pytest.raises(ConfigError, match=r"nearest valid embed_dim 8\."):
        ConfigWrapper({"embed_dim": 4, "num_heads": 8})


@pytest.mark.parametrize("grid", [[7, 16], [16, 7]])
def test_patch_fits_into_the_grid(grid: list[int]) -> None:
    with pytest.raises(ConfigError, match=rf"patch_size 8 is larger than the grid \[{grid[0]}, {grid[1]}\]"):
        ConfigWrapper({"patch_size": 8, "img_size": grid})


def test_patch_need_not_divide_the_grid() -> None:
    assert ConfigWrapper({"patch_size": 8, "img_size": [721, 1440]}).model.img_size == (721, 1440)


def test_forecast_channels_are_among_the_inputs() -> None:
    with pytest.raises(ConfigError, match="output_channels 20 exceeds input_channels 19"):
        ConfigWrapper({"input_channels": 19, "output_channels": 20})
    assert ConfigWrapper({"input_channels": 20, "output_channels": 20}).model.output_channels == 20


@pytest.mark.parametrize(("inputs", "outputs"), [("auto", 20), (3, "auto"), ("auto", "auto")])
def test_auto_channels_are_compared_later(inputs: Any, outputs: Any) -> None:
    model = ConfigWrapper({"input_channels": inputs, "output_channels": outputs}).model
    assert (model.input_channels, model.output_channels) == (inputs, outputs)

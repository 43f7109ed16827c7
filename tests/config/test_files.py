"""Reading named configs: deep merges, duplicate keys, overrides, and the configs that come with the project."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from weather.config.files import find_config_file, load_config, merge, parse_override, read_configs
from weather.config.schema import SECTIONS
from weather.errors import ConfigError

PROJECT_CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "configs.yaml"
NAMES_ASKED_FOR = {
    *("base", "local", "small", "medium", "large", "bs16", "bs32", "bs64", "bs128", "seq4", "seq8", "seq16"),
    *("cuda_optimized", "rocm_optimized", "mps_optimized"),
}

MERGES = """
one: &one
  model: {embed_dim: 64, num_heads: 4}
  training: {learning_rate: 1e-3, seed: 1, channel_weights: {t2m: 2.0, u10: 3.0}}

two: &two
  model: {embed_dim: 32, num_layers: 2}
  training: {seed: 2, max_steps: 1e4}

child:
  <<: *one
  training: {learning_rate: 1e-4, channel_weights: {t2m: 5.0}}

grandchild_before: &grandchild
  training: {seed: 9}
  <<: *one

several:
  <<: [*one, *two]
  model: {num_heads: 2}

inline:
  <<: {training: {seed: 5}}
  training:
    <<: {seed: 6, max_steps: 3}
    max_steps: 4
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "configs.yaml"
    path.write_text(text, encoding="utf-8")
    return path


# --- merges ---


def test_merge_is_deep_and_leaves_its_arguments_alone() -> None:
    base: dict[str, Any] = {"a": {"b": {"c": 1, "d": 2}, "e": [1, 2]}, "f": 3}
    over: dict[str, Any] = {"a": {"b": {"c": 5}, "e": [4]}, "g": 6}
    assert merge(base, over) == {"a": {"b": {"c": 5, "d": 2}, "e": [4]}, "f": 3, "g": 6}
    assert base == {"a": {"b": {"c": 1, "d": 2}, "e": [1, 2]}, "f": 3}
    assert over == {"a": {"b": {"c": 5}, "e": [4]}, "g": 6}


def test_nested_key_overrides_and_its_neighbours_stay(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MERGES), "child")
    assert config.training.learning_rate == 1e-4
    assert config.training.seed == 1
    assert config.model.embed_dim == 64
    assert config.training.channel_weights == {"t2m": 5.0, "u10": 3.0}


def test_base_is_not_changed_by_who_merges_it(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MERGES), "one")
    assert config.training.learning_rate == 1e-3
    assert config.training.channel_weights == {"t2m": 2.0, "u10": 3.0}


def test_own_keys_win_wherever_the_merge_stands(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, MERGES), "grandchild_before").training.seed == 9


def test_first_of_several_bases_wins(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MERGES), "several")
    assert (config.model.embed_dim, config.training.seed) == (64, 1), "both bases have them"
    assert (config.model.num_layers, config.training.max_steps) == (2, 10_000), "only the second base has them"
    assert config.model.num_heads == 2, "its own"


def test_merge_inside_a_section(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MERGES), "inline")
    assert (config.training.seed, config.training.max_steps) == (6, 4)


def test_merge_over_several_generations(tmp_path: Path) -> None:
    text = (
        "a: &a {training: {seed: 1, max_steps: 1, epochs: 1}}\n"
        "b: &b {<<: *a, training: {max_steps: 2, epochs: 2}}\n"
        "c: {<<: *b, training: {epochs: 3}}\n"
    )
    training = load_config(write(tmp_path, text), "c").training
    assert (training.seed, training.max_steps, training.epochs) == (1, 2, 3)


def test_emptied_section_keeps_what_it_inherits(tmp_path: Path) -> None:
    """A section whose only key is commented out must not silently fall back to the schema's defaults."""
    text = "a: &a {training: {seed: 7}}\nb:\n  <<: *a\n  training:\n    # seed: 8\n"
    assert load_config(write(tmp_path, text), "b").training.seed == 7


def test_null_overrides_a_nested_value(tmp_path: Path) -> None:
    text = "a: &a {training: {max_steps: 7, channel_weights: {t2m: 2}}}\n"
    text += "b: {<<: *a, training: {max_steps: null, channel_weights: null}}\n"
    training = load_config(write(tmp_path, text), "b").training
    assert training.max_steps is None
    assert training.channel_weights is None


def test_own_flat_key_overrides_the_inherited_section(tmp_path: Path) -> None:
    """Nobody says two things here: the child only says what differs, in the short form."""
    text = "a: &a {training: {seed: 7, epochs: 3}}\nb: {<<: *a, seed: 8}\n"
    training = load_config(write(tmp_path, text), "b").training
    assert (training.seed, training.epochs) == (8, 3)


def test_contradiction_within_one_config_is_refused(tmp_path: Path) -> None:
    text = "a: {seed: 8, training: {seed: 7}}\n"
    with pytest.raises(ConfigError, match="'seed' is 8 on its own and 7 in section 'training'"):
        load_config(write(tmp_path, text), "a")


# --- files that cannot be used ---


@pytest.mark.parametrize(
    ("text", "what", "line"),
    [
        ("a:\n  training:\n    seed: 1\n    epochs: 2\n    seed: 3\n", "seed", 5),
        ("a:\n  model: {embed_dim: 8}\n  model: {num_heads: 2}\n", "model", 3),
        ("a: {}\nb: {}\na: {}\n", "a", 3),
        ("a:\n  training: {seed: 1, seed: 1}\n", "seed", 2),
    ],
)
def test_key_that_stands_twice_is_refused_with_its_place(tmp_path: Path, text: str, what: str, line: int) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=rf"the key '{what}' stands here twice.* line {line}, column") as refusal:
        read_configs(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_merge_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    """Otherwise the last one wins, against the rule that the first base does; several bases go into one list."""
    text = "a: &a {training: {seed: 1}}\nb: &b {training: {seed: 2}}\nc:\n  <<: *a\n  <<: *b\n"
    with pytest.raises(ConfigError, match="twice.* line 5"):
        read_configs(write(tmp_path, text))


@pytest.mark.parametrize(
    "text",
    [
        "a: [1, 2\n",
        "a:\n\tb: 1\n",
        "a: *nowhere\n",
        "a:\n  <<: 3\n",
        "a:\n  <<: [{seed: 1}, 3]\n",
        "a: &a\n  <<: *a\n",
        "a: !!python/object/apply:os.getcwd []\n",
        "a:\n  ? [1]\n  : 2\n",
        "a: {name: 2020-13-01}\n",
        "a: {seed: !!int x}\n",
    ],
)
def test_what_is_no_yaml_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as refusal:
        read_configs(path)
    assert str(refusal.value).startswith(f"{path}: ")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just text\n", "a: 1\n", "a:\n"])
def test_file_without_named_configs_is_refused(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match="does not hold named configs") as refusal:
        read_configs(path)
    assert str(path) in str(refusal.value)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"nothing\.yaml: cannot read the config file .*name one that is there with --config"
    ):
        load_config(tmp_path / "nothing.yaml")
    with pytest.raises(ConfigError, match="cannot read the config file"):
        load_config(tmp_path)


def test_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\x89HDF\r\n\x1a\n\xff")
    with pytest.raises(ConfigError, match="binary.yaml: cannot read the config file"):
        load_config(path)


def test_no_such_config_name_lists_the_names_and_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path, MERGES)
    with pytest.raises(ConfigError, match=r"no config named 'severel'; it has: one, two, .*did you mean 'several'\?"):
        load_config(path, "severel")
    with pytest.raises(
        ConfigError, match="no config named 'zzzzzzzz'; it has: one, two.*; choose one of these with --config_name"
    ):
        load_config(path, "zzzzzzzz")


def test_error_in_a_config_names_file_and_config(tmp_path: Path) -> None:
    path = write(tmp_path, "a: {training: {sed: 1}}\n")
    with pytest.raises(ConfigError) as refusal:
        load_config(path, "a")
    assert f"{path}, config 'a': unknown key 'training.sed'; nearest known: 'training.seed'" in str(refusal.value)


def test_config_file_of_the_working_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config_file(None).resolve() == PROJECT_CONFIGS, "an empty folder: the project's own"
    (tmp_path / "configs").mkdir()
    write(tmp_path / "configs", "base: {training: {seed: 9}}\n")
    assert load_config().training.seed == 9
    assert find_config_file("other.yaml") == Path("other.yaml")


# --- names and overrides ---


def test_run_is_called_as_its_config_unless_it_says_otherwise(tmp_path: Path) -> None:
    path = write(tmp_path, "a: {}\nb: {experiment: {name: other}}\nc: {experiment: {name: null}}\n")
    assert load_config(path, "a").experiment.name == "a"
    assert load_config(path, "b").experiment.name == "other"
    assert load_config(path, "c").experiment.name == "c"
    assert load_config(path, "a", ["experiment.name=mine"]).experiment.name == "mine"


def test_name_set_to_null_is_the_configs_name(tmp_path: Path) -> None:
    path = write(tmp_path, "a: {experiment: {name: other}}\n")
    assert load_config(path, "a", ["experiment.name=null"]).experiment.name == "a"


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("training.learning_rate=3e-4", "training.learning_rate", 3e-4),
        ("learning_rate=3e-4", "training.learning_rate", 3e-4),
        ("training.max_steps=1e4", "training.max_steps", 10_000),
        ("training.flops_budget=1e20", "training.flops_budget", 1e20),
        ("training.max_steps=null", "training.max_steps", None),
        ("model.img_size=[32, 64]", "model.img_size", (32, 64)),
        ("model.qkv_bias=false", "model.qkv_bias", False),
        ("data.channels=[t2m, 3, z500]", "data.channels", ["t2m", 3, "z500"]),
        ("training.adam_betas=[0.8, 9e-1]", "training.adam_betas", (0.8, 0.9)),
        ("training.channel_weights={t2m: 2.0, u10: 1e-1}", "training.channel_weights", {"t2m": 2.0, "u10": 0.1}),
        ("experiment.description=a=b", "experiment.description", "a=b"),
        ("  training.seed = 5", "training.seed", 5),
    ],
)
def test_override(text: str, key: str, value: Any) -> None:
    assert load_config(PROJECT_CONFIGS, "base", [text]).get(key) == value


def test_overrides_repeat_and_the_last_wins() -> None:
    config = load_config(PROJECT_CONFIGS, "base", ["seed=1", "embed_dim=96", "data.dt=2", "training.seed=3"])
    assert (config.training.seed, config.model.embed_dim, config.data.dt) == (3, 96, 2)
    assert config.training.learning_rate == 5e-4, "the rest stays"


def test_overrides_are_checked_together() -> None:
    config = load_config(PROJECT_CONFIGS, "base", ["model.embed_dim=100", "model.num_heads=5"])
    assert (config.model.embed_dim, config.model.num_heads) == (100, 5)
    with pytest.raises(ConfigError, match="num_heads 7"):
        load_config(PROJECT_CONFIGS, "base", ["num_heads=7"])


@pytest.mark.parametrize("text", ["training.seed", "", "=5", "  =5"])
def test_override_without_key_or_equals_sign(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--set: override '.*' has no key or no '='; --set training\.learning_rate="):
        parse_override(text)


@pytest.mark.parametrize(
    "text",
    ["seed=[1,", "seed={a: 1, a: 2}", "seed='", "seed=*x", "name=2020-13-01", "seed=!!int x", "img_size={[1]: 2}"],
)
def test_override_that_is_no_yaml(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--set: the value of '(seed|name|img_size)' is no YAML") as refusal:
        parse_override(text)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training.learnin_rate=1", r"unknown key 'training\.learnin_rate'; nearest known: 'training\.learning_rate'"),
        ("modle.embed_dim=8", r"unknown key 'modle\.embed_dim'; nearest known: 'model\.embed_dim'"),
        ("training.seed=true", r"training\.seed = True: a number is needed, not a truth value"),
        ("training.seed=", r"training\.seed = None"),
        ("training.batch_size=12.5", r"training\.batch_size = 12\.5"),
    ],
)
def test_override_that_the_schema_refuses(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(PROJECT_CONFIGS, "base", [text])


# --- the configs that come with the project ---


def test_configs_asked_for_are_there() -> None:
    assert set(read_configs(PROJECT_CONFIGS)) >= NAMES_ASKED_FOR


@pytest.mark.parametrize("name", read_configs(PROJECT_CONFIGS))
def test_config_loads_and_survives_being_written(name: str, tmp_path: Path) -> None:
    config = load_config(PROJECT_CONFIGS, name)
    assert config.experiment.name == name
    assert config.experiment.description
    path = write(tmp_path, yaml.safe_dump({"resolved": config.to_dict()}))
    assert load_config(path, "resolved").to_dict() == config.to_dict()


def test_base_spells_out_every_key() -> None:
    """It is the documentation: a key that is only in the schema is not found by its readers."""
    base = read_configs(PROJECT_CONFIGS)["base"]
    assert {section: set(values) for section, values in base.items()} == {
        section: set(schema.model_fields) for section, schema in SECTIONS.items()
    }


def test_base_is_the_reference_model() -> None:
    model = load_config(PROJECT_CONFIGS, "base").model
    assert (model.num_layers, model.embed_dim, model.num_heads) == (12, 384, 8)
    assert (model.img_size, model.patch_size) == ((360, 720), 8)
    assert (model.input_channels, model.output_channels, model.sequence_length) == (20, 20, 1)


def test_local_is_for_debug_runs() -> None:
    config = load_config(PROJECT_CONFIGS, "local")
    assert (config.model.num_layers, config.model.embed_dim, config.model.num_heads) == (4, 128, 4)
    assert config.training.batch_size == 4
    assert config.model.img_size in ("auto", (64, 128))
    assert config.model.patch_size == 8, "inherited"


@pytest.mark.parametrize("batch", [16, 32, 64, 128])
def test_learning_rate_grows_with_the_root_of_the_batch(batch: int) -> None:
    base, config = load_config(PROJECT_CONFIGS, "base"), load_config(PROJECT_CONFIGS, f"bs{batch}")
    assert config.training.batch_size == batch
    expected = base.training.learning_rate * math.sqrt(batch / base.training.batch_size)
    assert config.training.learning_rate == pytest.approx(expected, rel=0.01)
    assert config.model == base.model


@pytest.mark.parametrize("states", [4, 8, 16])
def test_sequence_configs(states: int) -> None:
    model = load_config(PROJECT_CONFIGS, f"seq{states}").model
    assert model.sequence_length == states
    assert (model.embed_dim, model.num_layers) == (384, 12)


@pytest.mark.parametrize(
    ("name", "origin"), [("cuda_optimized", "base"), ("rocm_optimized", "base"), ("mps_optimized", "local")]
)
def test_machine_configs_change_no_shape(name: str, origin: str) -> None:
    settings, other = load_config(PROJECT_CONFIGS, name).to_dict(), load_config(PROJECT_CONFIGS, origin).to_dict()
    changed = {f"{s}.{k}" for s, values in other.items() for k, value in values.items() if settings[s][k] != value}
    efficiency = "model.attention model.compile model.activation_checkpointing data.num_workers training.precision "
    efficiency += "training.strategy training.micro_batch_size training.collective_timeout_minutes "
    assert changed <= set((efficiency + "experiment.name experiment.description").split())

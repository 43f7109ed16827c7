"""ConfigWrapper: access, routing of flat keys, copies."""

from __future__ import annotations

from typing import Any

import pytest

from weather.config.schema import SECTIONS
from weather.config.wrapper import ConfigWrapper
from weather.errors import ConfigError

#: A value for every key that is not its default.
OTHER_VALUES: dict[str, dict[str, Any]] = {
    "model": {"embed_dim": 96, "num_heads": 6, "img_size": [32, 64], "input_channels": 3, "compile": "blocks"},
    "data": {"channels": ["t2m", 2], "data_subset": 0.25, "temporal_coverage": "6m"},
    "training": {"learning_rate": 3e-4, "max_steps": 7, "adam_betas": [0.8, 0.9], "channel_weights": {"t2m": 2.0}},
    "logging": {"wandb_mode": "offline"},
    "experiment": {"name": "trial-1", "description": "one line"},
    "profile": {"enabled": True, "steps": 5},
}


def test_attribute_access() -> None:
    config = ConfigWrapper(OTHER_VALUES)
    assert config.training.learning_rate == 3e-4
    assert config.model.img_size == (32, 64)
    assert config.experiment.name == "trial-1"
    assert config.data.dt == 1
    with pytest.raises(AttributeError):
        config.training.momentum  # type: ignore[attr-defined]  # noqa: B018


def test_get() -> None:
    config = ConfigWrapper(OTHER_VALUES)
    assert config.get("training.learning_rate") == 3e-4
    assert config.get("learning_rate") == 3e-4
    assert config.get("model").embed_dim == 96
    assert config.get("training.max_steps", 0) == 7


@pytest.mark.parametrize(
    "key",
    ["training.momentum", "momentum", "model.learning_rate", "optimizer", "training.learning_rate.real", "to_dict", ""],
)
def test_get_gives_the_default_where_there_is_no_such_key(key: str) -> None:
    assert ConfigWrapper({}).get(key, "default") == "default"
    assert ConfigWrapper({}).get(key) is None


def test_to_dict_round_trip() -> None:
    config = ConfigWrapper(OTHER_VALUES)
    plain = config.to_dict()
    assert ConfigWrapper(plain).to_dict() == plain
    assert plain["model"]["img_size"] == [32, 64]
    assert set(plain) == set(SECTIONS)
    assert all(set(plain[section]) == set(schema.model_fields) for section, schema in SECTIONS.items())
    for section, values in OTHER_VALUES.items():
        assert {key: plain[section][key] for key in values} == values


def test_to_dict_is_a_copy() -> None:
    config = ConfigWrapper(OTHER_VALUES)
    config.to_dict()["training"]["channel_weights"]["t2m"] = 5.0
    assert config.training.channel_weights == {"t2m": 2.0}


def test_replace_gives_a_checked_copy() -> None:
    config = ConfigWrapper(OTHER_VALUES, source="some.yaml")
    other = config.replace({"training.learning_rate": "1e-3", "seed": 7})
    assert (other.training.learning_rate, other.training.seed, other.source) == (1e-3, 7, "some.yaml")
    assert (config.training.learning_rate, config.training.seed) == (3e-4, 42)
    assert other.experiment.name == "trial-1"
    with pytest.raises(ConfigError, match=r"model\.embed_dim = 0"):
        config.replace({"embed_dim": 0})


def test_replace_checks_rules_once_all_values_are_in() -> None:
    other = ConfigWrapper({"embed_dim": 384, "num_heads": 8}).replace({"embed_dim": 100, "num_heads": 10})
    assert (other.model.embed_dim, other.model.num_heads) == (100, 10)


def test_extra_channels_follow_from_the_extra_inputs() -> None:
    """Both of longitude and of the time of day; a static field is one. `auto` and no word say the same."""
    names = ["longitude", "orography", "time_of_day"]
    for model in ({}, {"extra_channels": "auto"}, {"extra_channels": 5}):
        config = ConfigWrapper({"model": model, "data": {"extra_inputs": names}})
        assert config.model.extra_channels == 5
    assert ConfigWrapper(config.to_dict()).to_dict() == config.to_dict()
    assert config.replace({"extra_inputs": ["insolation"]}).model.extra_channels == 1
    assert config.replace({"embed_dim": 64}).model.extra_channels == 5
    with pytest.raises(ConfigError, match=r"extra_channels = 4, but data.extra_inputs = .* makes 5; leave .* out"):
        config.replace({"extra_channels": 4})
    with pytest.raises(ConfigError, match="names a field twice"):
        config.replace({"extra_inputs": ["insolation", "insolation"]})


@pytest.mark.parametrize("key", ["momentum", "training.momentum", "optimizer.learning_rate"])
def test_replace_refuses_unknown_keys(key: str) -> None:
    with pytest.raises(ConfigError, match="unknown key"):
        ConfigWrapper({}).replace({key: 1})


@pytest.mark.parametrize("key", ["training.", "model"])
def test_replace_takes_no_whole_section(key: str) -> None:
    with pytest.raises(ConfigError, match=r"is a section; set its keys one by one"):
        ConfigWrapper({}).replace({key: {}})


def test_flat_keys_are_routed_to_their_section() -> None:
    config = ConfigWrapper({"learning_rate": "1e-4", "embed_dim": 96, "name": "flat", "training": {"seed": 7}})
    assert config.training.learning_rate == 1e-4
    assert config.model.embed_dim == 96
    assert config.experiment.name == "flat"
    assert config.training.seed == 7


def test_every_key_may_stand_outside_its_section() -> None:
    plain = ConfigWrapper(OTHER_VALUES).to_dict()
    profile = {"profile": plain["profile"]}
    flat = {key: value for name, section in plain.items() if name not in profile for key, value in section.items()}
    assert ConfigWrapper(flat | profile).to_dict() == plain


@pytest.mark.parametrize("key", ["steps", "enabled"])
def test_keys_of_profile_may_not(key: str) -> None:
    """`steps: 100` outside any section would be meant for the run."""
    with pytest.raises(ConfigError, match=rf"unknown key '{key}'; nearest known: 'profile\.{key}'"):
        ConfigWrapper({key: 1})
    assert ConfigWrapper({}).get(key) is None
    assert ConfigWrapper({"profile": {"steps": 5}}).replace({"profile.steps": 6}).get("profile.steps") == 6


def test_contradiction_of_flat_key_and_section_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"some\.yaml: 'seed' is 8 on its own and 7 in section 'training'"):
        ConfigWrapper({"seed": 8, "training": {"seed": 7}}, source="some.yaml")
    assert ConfigWrapper({"seed": 7, "training": {"seed": 7}}).training.seed == 7


def test_empty_section_means_defaults() -> None:
    assert ConfigWrapper({"training": None}).training.seed == 42


@pytest.mark.parametrize("value", [[1], 3, "text"])
def test_section_that_holds_no_keys_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"section 'model' is .*a section holds keys with values"):
        ConfigWrapper({"model": value})


@pytest.mark.parametrize(
    ("settings", "nearest"),
    [
        ({"training": {"learnin_rate": 1}}, "training.learning_rate"),
        ({"model": {"num_head": 1}}, "model.num_heads"),
        ({"data": {"chanels": 1}}, "data.channels"),
        ({"logging": {"wandb": 1}}, "logging.wandb_mode|logging.use_wandb"),
        ({"experiment": {"nam": 1}}, "experiment.name"),
        ({"model": {"learning_rate": 1}}, "training.learning_rate"),
        ({"batchsize": 1}, "training.batch_size"),
        ({"modle": {"embed_dim": 8}}, "model"),
        ({"trainig": {}}, "training"),
    ],
)
def test_unknown_key_is_refused_with_the_nearest_name(settings: dict[str, Any], nearest: str) -> None:
    with pytest.raises(ConfigError, match=rf"some\.yaml: unknown key '.*'; nearest known: '({nearest})'"):
        ConfigWrapper(settings, source="some.yaml")


@pytest.mark.parametrize("settings", [{1: 2}, {"model": {1: 2}}, {None: 2}, {"model": {None: 2}}, {"zzzz": 1}])
def test_keys_that_resemble_nothing_are_refused_too(settings: dict[Any, Any]) -> None:
    with pytest.raises(ConfigError):
        ConfigWrapper(settings)

"""What `auto` becomes, what contradicts the archive, how many checkpoints are kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.training.stand_in import archive
from weather.config.wrapper import ConfigWrapper
from weather.errors import ConfigError
from weather.training.preparation import changed_identity, changed_keys, checkpoint_limit, resolve_model

ARCHIVE = archive(np.linspace(90.0, -90.0, 7), columns=12)


def config(**model: Any) -> ConfigWrapper:
    return ConfigWrapper({"model": {"patch_size": 3} | model})


def test_auto_is_the_archives() -> None:
    model = resolve_model(config(), ARCHIVE).model
    assert (model.img_size, model.input_channels, model.output_channels) == ((7, 12), 3, 3)


def test_fewer_channels_may_be_forecast() -> None:
    assert resolve_model(config(output_channels=2), ARCHIVE).model.output_channels == 2
    with pytest.raises(ConfigError, match="output_channels 4 exceeds input_channels 3"):
        resolve_model(config(output_channels=4), ARCHIVE)


def test_values_that_agree_are_kept() -> None:
    resolved = resolve_model(config(img_size=[7, 12], input_channels=3), ARCHIVE)
    assert resolved.model.img_size == (7, 12)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"img_size": [8, 12]}, r"model.img_size = \[8, 12\], but the archive has \[7, 12\]"),
        ({"input_channels": 2}, "model.input_channels = 2, but the archive has 3.*choose 2 of the channels"),
        ({"patch_size": 8}, r"patch_size 8 is larger than the grid \[7, 12\]"),
    ],
)
def test_what_contradicts_the_archive_is_refused(model: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_model(config(**model), ARCHIVE)


def test_changes_are_named_with_both_values() -> None:
    old = config().to_dict()
    new = config().replace({"training.seed": 7, "training.epochs": 3})
    assert changed_keys(old, new) == {"training.seed": (42, 7), "training.epochs": (10, 3)}
    assert changed_identity(old, new) == {"training.seed": (42, 7)}
    assert changed_keys(old, config()) == {}


@pytest.mark.parametrize(
    ("override", "environment", "kept"), [(None, None, 3), (None, "7", 7), (5, "7", 5), (0, "7", 0), (None, "0", 0)]
)
def test_constructor_goes_before_environment_before_config(
    monkeypatch: pytest.MonkeyPatch, override: int | None, environment: str | None, kept: int
) -> None:
    monkeypatch.delenv("MAX_CHECKPOINTS", raising=False)
    if environment is not None:
        monkeypatch.setenv("MAX_CHECKPOINTS", environment)
    assert checkpoint_limit(config(), override) == kept


@pytest.mark.parametrize("environment", ["many", "-1", "2.5"])
def test_a_limit_that_is_no_count_is_refused(monkeypatch: pytest.MonkeyPatch, environment: str) -> None:
    monkeypatch.setenv("MAX_CHECKPOINTS", environment)
    with pytest.raises(ConfigError, match=f"MAX_CHECKPOINTS = '{environment}'"):
        checkpoint_limit(config(), None)

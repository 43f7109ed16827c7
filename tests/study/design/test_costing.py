"""The cost of a run is what its start finds out, without reading the archive again."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.archives import WrittenArchive
from weather.config.wrapper import ConfigWrapper
from weather.errors import ConfigError, DataError
from weather.study.design import costing
from weather.study.design.costing import cost_run
from weather.training.preparation import prepare

MODEL = {"embed_dim": 32, "num_layers": 2, "num_heads": 2, "patch_size": 4}


@pytest.fixture
def archive(make_archive: Callable[..., WrittenArchive]) -> WrittenArchive:
    return make_archive()


@pytest.fixture
def config(archive: WrittenArchive) -> ConfigWrapper:
    return ConfigWrapper({"model": MODEL, "data": {"data_dir": str(archive.folder)}})


def test_it_is_what_a_start_of_the_run_finds(config: ConfigWrapper) -> None:
    for values in ({"training.flops_budget": 1e9}, {"training.epochs": 3}, {"data.data_subset": 0.5}):
        asked = config.replace(values)
        prepared = prepare(asked)
        resolved, cost = cost_run(asked)
        assert resolved.to_dict() == prepared.config.to_dict()
        assert (cost.steps, cost.unique_samples) == (prepared.length.total_steps, len(prepared.training))
        assert cost.samples == cost.steps * asked.training.batch_size
        assert cost.flops == cost.samples * prepared.cost.train_flops
        assert (cost.parameters, cost.tokens_per_sample) == (prepared.cost.parameters, prepared.cost.tokens)


def test_an_archive_is_read_once_and_again_when_it_changes(
    config: ConfigWrapper, archive: WrittenArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    read = costing.open_checked
    monkeypatch.setattr(costing, "open_checked", lambda config: (opened.append(1), read(config))[1])
    for seed in range(3):
        cost_run(config.replace({"training.seed": seed, "data.data_subset": 1 / (1 + seed)}))
    assert len(opened) == 1
    cost_run(config.replace({"data.channels": ["t2m"]}))
    assert len(opened) == 2
    os.utime(archive.path(), (1, 1))
    cost_run(config)
    assert len(opened) == 3


def test_what_could_not_start_is_refused(config: ConfigWrapper) -> None:
    with pytest.raises(ConfigError, match="not a multiple of 3 ranks"):
        cost_run(config.replace({"training.strategy": "ddp"}), ranks=3)
    with pytest.raises(ConfigError, match="strategy 'single' with 2 ranks"):
        cost_run(config, ranks=2)
    with pytest.raises(ConfigError, match="less than one step"):
        cost_run(config.replace({"training.flops_budget": 10}))
    with pytest.raises(ConfigError, match="shard_size = 3 with 4 ranks"):
        cost_run(config.replace({"training.strategy": "fsdp", "training.shard_size": 3}), ranks=4)
    with pytest.raises(DataError, match="no such folder"):
        cost_run(config.replace({"data.data_dir": "/nowhere"}))

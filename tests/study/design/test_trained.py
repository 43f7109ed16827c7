"""A plan's runs can be trained as they stand, also after larger budgets were added to a begun study."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.archives import WrittenArchive
from tests.study.design.studies import description
from weather.config.files import load_config
from weather.errors import ConfigError
from weather.study.design.plan import plan_study
from weather.study.folder import StudyFolder
from weather.training.trainer import WeatherTrainer


def train(folder: StudyFolder, name: str) -> list[dict[str, Any]]:
    """Train a run from the config in the study's folder; gives its records."""
    WeatherTrainer(load_config(folder.config_file(name), name), device="cpu").train()
    return [json.loads(line) for line in (folder.run(name) / "metrics.jsonl").read_text().splitlines()]


def test_a_begun_study_takes_larger_budgets(make_archive: Callable[..., WrittenArchive], tmp_path: Path) -> None:
    archive, folder = make_archive(grid=(8, 16)), StudyFolder(tmp_path / "experiments" / "one")
    family = {"head_dim": 4, "width_per_layer": 8, "fewest_layers": 1, "widths": [8]}

    def plan(budgets: list[float], **more: Any) -> None:
        overrides = {"training.log_frequency": 1}
        settings = {"family": family, "budgets": budgets, "overrides": overrides, **more}
        folder.write_plan(plan_study(description(archive, **settings), folder))

    plan([2e7])
    trunk, branch = "w8l1-trunk-seed42", "w8l1-c2e+07-seed42"
    planned = {run.name: run for run in folder.read_plan().runs}
    records = train(folder, trunk)
    assert [record["step"] for record in records if record["event"] == "validation"] == [planned[trunk].cost.steps]
    records = train(folder, branch)
    steps = [record["step"] for record in records if record["event"] == "train"]
    assert steps == list(range(planned[branch].first_step + 1, planned[branch].cost.steps + 1))
    stop = next(record for record in records if record["event"] == "stop")
    assert (stop["reason"], stop["flops"]) == ("flops_budget", planned[branch].cost.flops)

    plan([2e7, 4e7])
    grown = folder.read_plan().run(trunk)
    assert grown.cost.steps > planned[trunk].cost.steps
    assert [record["event"] for record in train(folder, trunk)].count("resume") == 1
    records = train(folder, "w8l1-c4e+07-seed42")
    assert records[-1]["flops"] == folder.read_plan().run("w8l1-c4e+07-seed42").cost.flops

    with pytest.raises(ConfigError, match="has begun with training.save_at_steps"):
        plan([1e7, 2e7, 4e7])  # the trunk has passed where the new branch would leave it
    with pytest.raises(ConfigError, match="has begun with training.learning_rate = 0.001, and is now planned with"):
        plan([2e7, 4e7], schedule={"learning_rate": 2e-3, "warmup_steps": 2})
    with pytest.raises(ConfigError, match="has begun and is no longer planned"):
        plan([4e7])

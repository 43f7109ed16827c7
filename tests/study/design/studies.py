"""Small studies on tiny archives."""

from __future__ import annotations

from typing import Any

from tests.archives import WrittenArchive
from weather.study.design.description import StudyDescription

CONFIG = """\
tiny:
  model: {patch_size: 4, embed_dim: 8, num_heads: 2, num_layers: 1, attention: sdpa}
  training: {batch_size: 2, precision: fp32, log_frequency: 1000, asynchronous_checkpoints: false}
  data: {num_workers: 0}
"""
SETTINGS: dict[str, Any] = {
    "name": "one",
    "family": {"head_dim": 4, "width_per_layer": 8, "fewest_layers": 1, "widths": [8, 16]},
    "budgets": [4e7, 8e7],
    "schedule": {"learning_rate": 1e-3, "warmup_steps": 2},
    "fewest_steps": 1,
    "most_epochs": 1000,
}


def study(archive: WrittenArchive, **settings: Any) -> dict[str, Any]:
    """What the YAML file of a study would hold."""
    config = archive.folder.parent / "tiny.yaml"
    config.write_text(CONFIG)
    base = {"config": str(config), "config_name": "tiny"}
    overrides = {"data.data_dir": str(archive.folder), **settings.pop("overrides", {})}
    return {**SETTINGS, "base": base, "overrides": overrides, **settings}


def description(archive: WrittenArchive, **settings: Any) -> StudyDescription:
    return StudyDescription.model_validate(study(archive, **settings))

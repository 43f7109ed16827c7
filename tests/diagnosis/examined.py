"""A tiny config, and the sections that its examination gives."""

from __future__ import annotations

from typing import Any

from weather.config.wrapper import ConfigWrapper
from weather.diagnosis.findings import Finding, Section, Severity
from weather.diagnosis.model import examine_model
from weather.runtime.ranks import Ranks

MODEL = {
    "embed_dim": 16,
    "num_layers": 3,
    "num_heads": 2,
    "patch_size": 4,
    "img_size": [8, 16],
    "input_channels": 3,
    "output_channels": 3,
}


def tiny_config(**settings: Any) -> ConfigWrapper:
    """`settings` replace keys of any section."""
    sections = {"model": MODEL, "data": {"data_dir": "no/archive"}, "training": {"batch_size": 4, "precision": "fp32"}}
    return ConfigWrapper(sections).replace(settings)


def examine(**settings: Any) -> dict[str, Section]:
    """Sections by title, of one process on the CPU."""
    return {section.title: section for section in examine_model(tiny_config(**settings), Ranks(), "cpu")}


def findings(sections: dict[str, Section], *, least: Severity = Severity.WARNING) -> list[Finding]:
    """Those that matter."""
    return [finding for section in sections.values() for finding in section.findings if finding.severity >= least]


def verdicts(sections: dict[str, Section]) -> dict[tuple[str, str, str], str]:
    """Of each (strategy, precision, attention)."""
    return {tuple(row[:3]): row[-1] for row in sections["precisions and strategies"].rows}  # type: ignore[misc]

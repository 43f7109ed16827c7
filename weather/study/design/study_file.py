"""Reads a study's YAML file, and says where it is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from weather.config.files import read_yaml
from weather.errors import ConfigError
from weather.study.design.description import KINDS, StudyDescription


def read_description(path: Path) -> StudyDescription:
    """A study's YAML file, checked.

    Raises:
        ConfigError: it cannot be read, has an unknown key, or a value breaks a rule.
    """
    record = read_yaml(path, "study", fix="configs/studies/ holds examples")
    if not isinstance(record, dict):
        raise ConfigError("no study", where=path, rule="key: value, as in configs/studies/")
    try:
        return StudyDescription.model_validate(record)
    except ValidationError as error:
        raise _readable(error, path) from error


def _readable(error: ValidationError, path: Path) -> ConfigError:
    """The first problem of a pydantic report as one line."""
    problems = error.errors()
    # A misspelt key comes with a complaint that the right one is missing.
    problem = next((each for each in problems if each["type"] == "extra_forbidden"), problems[0])
    parts = [str(part) for part in problem["loc"] if part not in KINDS]
    key = ".".join(parts)
    if problem["type"] == "extra_forbidden":
        known = _keys(StudyDescription)
        near = [name for name in known if name.rpartition(".")[2] == _nearest(parts[-1], known)]
        beside = [name for name in near if name.rpartition(".")[0] == ".".join(parts[:-1])]
        return ConfigError(
            f"unknown key '{key}'",
            where=path,
            rule=f"nearest known: '{(beside or near)[0]}'",
            fix="configs/studies/ explains every key",
        )
    if problem["type"] == "missing":
        return ConfigError(f"'{key}' is missing", where=path, fix="configs/studies/ explains every key")
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"].startswith("union_tag"):
        return ConfigError(f"{key} = {problem['input']!r} is of no kind that is known", where=path)
    value = problem["input"]
    shown = "" if isinstance(value, Mapping) else f" = {value!r}"
    return ConfigError(f"{key or 'study'}{shown}: {message}", where=path, fix="configs/studies/ explains every key")


def _nearest(name: str, known: list[str]) -> str:
    last = [each.rpartition(".")[2] for each in known]
    return difflib.get_close_matches(name, last, n=1, cutoff=0.0)[0]


def _keys(section: type[BaseModel], prefix: str = "") -> list[str]:
    """All keys with their sections, as they stand in the file."""
    keys = []
    for name, entry in section.model_fields.items():
        full = f"{prefix}{entry.alias or name}"
        keys.append(full)
        for inner in _sections(entry.annotation):
            keys += _keys(inner, f"{full}.")
    return keys


def _sections(annotation: Any) -> list[type[BaseModel]]:
    """Sections among the alternatives of a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for each in getattr(annotation, "__args__", ()) for found in _sections(each)]

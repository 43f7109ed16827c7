"""ConfigWrapper: a checked config, as the rest of the code sees it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from weather.config.extra_inputs import extra_channels
from weather.config.schema import (
    SECTION_OF_KEY,
    SECTIONS,
    Config,
    DataSection,
    ExperimentSection,
    LoggingSection,
    ModelSection,
    ProfileSection,
    TrainingSection,
)
from weather.errors import ConfigError


class ConfigWrapper:
    """A validated config: `config.training.learning_rate`, `config.get("training.learning_rate", default)`.

    Args:
        settings: sections with their keys; a key may also stand outside any section and is routed to its own.
        source: where the settings come from (file and config name), for error messages.

    Raises:
        ConfigError: an unknown key (with the nearest known one) or a value that breaks a rule.
    """

    model: ModelSection
    data: DataSection
    training: TrainingSection
    logging: LoggingSection
    experiment: ExperimentSection
    profile: ProfileSection

    def __init__(self, settings: Mapping[str, Any], *, source: str = "") -> None:
        self.source = source
        routed = route(settings, source)
        if routed["model"].get("extra_channels") == "auto":
            del routed["model"]["extra_channels"]
        try:
            checked = Config.model_validate(routed)
        except ValidationError as error:
            raise _readable(error, source) from error
        _derive_extra_channels(checked, source)
        for section in SECTIONS:
            setattr(self, section, getattr(checked, section))

    def get(self, key: str, default: Any = None) -> Any:
        """The value of `section.key`, `section` or a bare `key`; `default` where there is no such key."""
        value: Any = self
        for part in _dotted(key).split("."):
            known = SECTIONS if value is self else getattr(type(value), "model_fields", {})
            if part not in known:
                return default
            value = getattr(value, part)
        return value

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Plain nested dictionary, as it would stand in YAML."""
        return {section: getattr(self, section).model_dump(mode="json") for section in SECTIONS}

    def replace(self, values: Mapping[str, Any]) -> ConfigWrapper:
        """A checked copy with some `section.key` (or bare `key`) set to other values."""
        settings: dict[str, Any] = self.to_dict()
        del settings["model"]["extra_channels"]  # follows from data.extra_inputs, which may be among the values
        for key, value in values.items():
            section, _, name = _dotted(key).partition(".")
            if section in SECTIONS and not name:
                raise ConfigError(
                    f"'{key}' is a section", where=self.source, fix=f"set its keys one by one: {key}.KEY=VALUE"
                )
            if section not in SECTIONS or not name:
                raise _unknown(key, self.source)
            settings[section][name] = value
        return ConfigWrapper(settings, source=self.source)


def route(settings: Mapping[str, Any], source: str) -> dict[str, dict[str, Any]]:
    """Sort keys that stand outside a section into their section; refuse unknown ones and contradictions."""
    routed: dict[str, dict[str, Any]] = {}
    for section in SECTIONS:
        values = settings.get(section)
        if values is not None and not isinstance(values, Mapping):
            raise ConfigError(
                f"section '{section}' is {values!r}", where=source, rule="a section holds keys with values"
            )
        routed[section] = dict(values or {})
    for key, value in settings.items():
        if key in SECTIONS:
            continue
        if key not in SECTION_OF_KEY:
            raise _unknown(str(key), source)
        section = SECTION_OF_KEY[key]
        if key in routed[section] and routed[section][key] != value:
            raise ConfigError(
                f"'{key}' is {value!r} on its own and {routed[section][key]!r} in section '{section}'",
                where=source,
                fix="keep one of the two",
            )
        routed[section][key] = value
    return routed


def _derive_extra_channels(checked: Config, source: str) -> None:
    """Fill in `model.extra_channels`, so that a model can be built from its section alone."""
    model, follows = checked.model, extra_channels(checked.data.extra_inputs)
    if "extra_channels" in model.model_fields_set and model.extra_channels != follows:
        raise ConfigError(
            f"model.extra_channels = {model.extra_channels}, but data.extra_inputs = {checked.data.extra_inputs} "
            f"makes {follows}",
            where=source,
            fix="leave model.extra_channels out, or set it to auto",
        )
    checked.model = model.model_copy(update={"extra_channels": follows})


def _dotted(key: str) -> str:
    return f"{SECTION_OF_KEY[key]}.{key}" if "." not in key and key in SECTION_OF_KEY else key


def _unknown(key: str, source: str) -> ConfigError:
    full_names = {name: f"{section}.{name}" for section, schema in SECTIONS.items() for name in schema.model_fields}
    name = key.rpartition(".")[2]
    near = difflib.get_close_matches(name, list(full_names) + list(SECTIONS), n=1, cutoff=0.5)
    full = [full_names.get(match, match) for match in near]
    full = full or difflib.get_close_matches(key, list(full_names.values()), n=1, cutoff=0.0)
    return ConfigError(
        f"unknown key '{key}'",
        where=source,
        rule=f"nearest known: '{full[0]}'",
        fix="configs/configs.yaml documents every key",
    )


def _readable(error: ValidationError, source: str) -> ConfigError:
    """The first problem of a pydantic report as one line."""
    problem = error.errors()[0]
    parts = [str(part) for part in problem["loc"]]
    key = ".".join(parts[:2])
    if problem["type"] == "extra_forbidden":
        return _unknown(key, source)
    message = problem["msg"].removeprefix("Value error, ")
    alternatives = [
        p["msg"].removeprefix("Value error, ") for p in error.errors() if [str(x) for x in p["loc"][:2]] == parts[:2]
    ]
    if len(alternatives) > 1:
        message = " or ".join(dict.fromkeys(alternatives))
    section_wide = len(parts) < 2
    what = f"section '{key}'" if section_wide else f"{key} = {_input(error, parts)!r}"
    return ConfigError(f"{what}: {message}", where=source)


def _input(error: ValidationError, parts: list[str]) -> Any:
    problem = error.errors()[0]
    return problem["input"]

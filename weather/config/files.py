"""Named configs in a YAML file: anchors, deep `<<` merging, overrides from the command line."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from weather.config.schema import SECTION_OF_KEY, SECTIONS
from weather.config.wrapper import ConfigWrapper
from weather.errors import ConfigError, did_you_mean

DEFAULT_FILE = Path("configs/configs.yaml")


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over`, key by key at every depth."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def inherit(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`own` on top of what it inherits, whichever way a key is written.

    `seed: 8` outside its section overrides an inherited `training: {seed: 1}`, and the other way round. A section
    that is left empty says nothing and keeps what it inherits.
    """
    inherited = dict(base)
    for key, value in own.items():
        section = SECTION_OF_KEY.get(key)
        if section is not None and isinstance(inherited.get(section), Mapping):
            inherited[section] = {name: old for name, old in inherited[section].items() if name != key}
        elif key in SECTIONS and isinstance(value, Mapping):
            inherited = {name: old for name, old in inherited.items() if name not in value}
    return merge(inherited, {k: v for k, v in own.items() if not (k in SECTIONS and v is None and k in inherited)})


class _Loader(yaml.SafeLoader):
    """Safe YAML in which `<<` merges deeply and a key that stands twice is refused."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        own: dict[Hashable, Any] = {}
        base: dict[str, Any] = {}
        merged = False
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                if merged:
                    raise yaml.constructor.ConstructorError(
                        None, None, "'<<' stands here twice: give several bases as one list", key_node.start_mark
                    )
                merged = True
                value = self.construct_object(value_node, deep=True)
                # The first of several bases wins, as in YAML's own merge.
                for mapping in reversed(value if isinstance(value, list) else [value]):
                    if not isinstance(mapping, Mapping):
                        raise yaml.constructor.ConstructorError(
                            None, None, "'<<' needs a mapping or a list of mappings", value_node.start_mark
                        )
                    base = merge(base, mapping)
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key is one word, not a list or mapping", key_node.start_mark
                )
            if key in own:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key}' stands here twice", key_node.start_mark
                )
            own[key] = self.construct_object(value_node, deep=True)
        return inherit(base, own)  # type: ignore[arg-type, return-value]


def _construct_mapping(loader: _Loader, node: yaml.Node) -> dict[Hashable, Any]:
    assert isinstance(node, yaml.MappingNode)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)


def read_yaml(path: Path, what: str, *, fix: str = "") -> Any:
    """What a YAML file holds, merged but not yet checked.

    Args:
        what: kind of file, and `fix` what to do where it is missing, for the error message.

    Raises:
        ConfigError: the file is missing, is no YAML, or has a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the {what} ({error})", where=path, fix=fix) from error
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date or number that is none
        raise ConfigError(" ".join(str(error).split()), where=path) from error


def read_configs(path: Path) -> dict[str, dict[str, Any]]:
    """All named configs of a file, merged but not yet checked.

    Raises:
        ConfigError: the file is missing, is no YAML, or has a key twice.
    """
    configs = read_yaml(path, "config file", fix="name one that is there with --config")
    if not isinstance(configs, dict) or not all(isinstance(value, dict) for value in configs.values()):
        raise ConfigError("the file does not hold named configs", where=path, rule="name: {section: {key: value}}")
    return {str(name): config for name, config in configs.items()}


def load_config(path: Path | str | None = None, name: str = "base", overrides: Sequence[str] = ()) -> ConfigWrapper:
    """Config `name` of the YAML file `path` (None: ``configs/configs.yaml``), with overrides `section.key=value`.

    Raises:
        ConfigError: no such file, name, key; or a value that breaks a rule.
    """
    path = find_config_file(path)
    configs = read_configs(path)
    if name not in configs:
        raise ConfigError(
            f"no config named '{name}'",
            where=path,
            rule=f"it has: {', '.join(configs)}",
            fix=did_you_mean(name, configs) or "choose one of these with --config_name",
        )
    source = f"{path}, config '{name}'"
    config = ConfigWrapper(configs[name], source=source)
    if overrides:
        config = config.replace(dict(map(parse_override, overrides)))
    return config if config.experiment.name is not None else config.replace({"experiment.name": name})


def find_config_file(path: Path | str | None) -> Path:
    """The given file, or ``configs/configs.yaml`` of the working folder, or that beside the installed package."""
    if path is not None:
        return Path(path)
    beside_package = Path(__file__).resolve().parents[2] / DEFAULT_FILE
    return DEFAULT_FILE if DEFAULT_FILE.exists() or not beside_package.exists() else beside_package


def parse_override(text: str) -> tuple[str, Any]:
    """`section.key=value` as a key and a value typed by YAML.

    Raises:
        ConfigError: there is no `=` or the value is no YAML.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(
            f"override '{text}' has no key or no '='", where="--set", rule="--set training.learning_rate=3e-4"
        )
    try:
        return key.strip(), yaml.load(value, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"the value of '{key}' is no YAML ({' '.join(str(error).split())})", where="--set") from error

"""Config dataclasses made from JSON or Hydra values, and written as JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from enum import Enum
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf

from data.artifacts.errors import ConfigError

T = TypeVar("T")


def structured(of: type[T], values: Mapping[str, Any]) -> T:
    """An instance of the dataclass `of` with its defaults, overridden by `values`.

    Raises:
        OmegaConfBaseException: the dataclass has no such field, or the field has another type.
        ConfigError: the dataclass's `__post_init__` refuses a value.
    """
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(of), values))  # type: ignore[return-value]


def typed(values: DictConfig) -> Any:
    """The dataclass that a composed Hydra config describes, with the dataclasses in its fields.

    Raises:
        ConfigError: a value without a default is missing, or a `__post_init__` refuses a value.
    """
    missing = sorted(OmegaConf.missing_keys(values))
    if missing:
        raise ConfigError(f"{', '.join(missing)}: must be given, e.g. {missing[0]}=...")
    return OmegaConf.to_object(values)


def jsonable(config: Any) -> Any:
    """A config dataclass as JSON values: enums by their value, paths, feature kinds and the like as text."""
    return json.loads(json.dumps(asdict(config), default=lambda v: v.value if isinstance(v, Enum) else str(v)))


def to_json_keys(fields: Mapping[str, Any], json_keys: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a dataclass under the keys that they have in JSON, where `json_keys` has another for a field."""
    return {json_keys.get(name, name): value for name, value in fields.items()}


def from_json_keys(values: Mapping[str, Any], json_keys: Mapping[str, str]) -> dict[str, Any]:
    """The opposite of `to_json_keys`: values from JSON under the names of the dataclass's fields."""
    return to_json_keys(values, {key: name for name, key in json_keys.items()})

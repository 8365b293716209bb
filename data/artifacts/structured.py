"""Config dataclasses from JSON or Hydra values, and back to JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from enum import Enum
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf

from data.artifacts.errors import ConfigError

T = TypeVar("T")


def structured(of: type[T], values: Mapping[str, Any]) -> T:
    """An instance of the dataclass `of`: its defaults, overridden by `values`; `__post_init__` checks them.

    Raises:
        OmegaConfBaseException: a name or a type is not one of `of`'s.
        ValueError: a value is refused by `__post_init__`.
    """
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(of), values))  # type: ignore[return-value]


def typed(values: DictConfig) -> Any:
    """The dataclass that a composed config describes, all dataclasses in it too; `__post_init__` checks them.

    Raises:
        ValueError: a value that has no default is missing, or one is refused.
    """
    missing = sorted(OmegaConf.missing_keys(values))
    if missing:
        raise ConfigError(f"{', '.join(missing)}: must be given, e.g. {missing[0]}=...")
    return OmegaConf.to_object(values)


def jsonable(config: Any) -> Any:
    """A config dataclass as JSON values: enums by their value, paths as text."""
    return json.loads(json.dumps(asdict(config), default=lambda v: v.value if isinstance(v, Enum) else str(v)))

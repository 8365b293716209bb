"""Config dataclasses made from JSON or Hydra values, and written as JSON."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, ListConfig, OmegaConf

from data.artifacts.bounds import Bounds, bounds_of, refuse_outside
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
        ConfigError: a value without a default is missing, a dataclass has no such key, a number is outside of its
            bounds (data/artifacts/bounds.py), or a `__post_init__` refuses a value.
    """
    missing = sorted(OmegaConf.missing_keys(values))
    if missing:
        raise ConfigError(f"{', '.join(missing)}: must be given, e.g. {missing[0]}=...")
    _check(values, "", Bounds())
    return OmegaConf.to_object(values)


def _check(node: DictConfig | ListConfig, key: str, of_elements: Bounds) -> None:
    """Checks keys and numbers of a config and of all that is in it.

    Args:
        key: the key of `node` in the whole config; empty for the whole config itself.
        of_elements: bounds of the numbers in `node`, where it is a list or a mapping.
    """
    of = OmegaConf.get_type(node)
    of_fields = bounds_of(of) if is_dataclass(of) else None
    names: Iterable[Any] = node if isinstance(node, DictConfig) else range(len(node))
    for name in names:
        inner = f"{key}[{name}]" if isinstance(node, ListConfig) else f"{key}.{name}".lstrip(".")
        if of_fields is not None and name not in of_fields:
            raise ConfigError(f"{inner}: there is no such key; known are {', '.join(of_fields)}")
        value, bounds = node[name], of_elements if of_fields is None else of_fields[str(name)]
        if isinstance(value, DictConfig | ListConfig):
            _check(value, inner, bounds)
        else:
            refuse_outside(inner, value, bounds)


def jsonable(config: Any) -> Any:
    """A config dataclass as JSON values: enums by their value, paths, feature kinds and the like as text."""
    return json.loads(json.dumps(asdict(config), default=lambda v: v.value if isinstance(v, Enum) else str(v)))


def to_json_keys(values: Mapping[str, Any], json_keys: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a dataclass under the keys that they have in JSON, where `json_keys` has another for a field."""
    return {json_keys.get(name, name): value for name, value in values.items()}


def from_json_keys(values: Mapping[str, Any], json_keys: Mapping[str, str]) -> dict[str, Any]:
    """The opposite of `to_json_keys`: values from JSON under the names of the dataclass's fields."""
    return to_json_keys(values, {key: name for name, key in json_keys.items()})


def known_fields(of: type, values: Mapping[str, Any], json_keys: Mapping[str, str]) -> dict[str, Any]:
    """`from_json_keys` for a dataclass, without keys that a later version has added to it.

    Raises:
        TypeError: a value is not of its field's type. Types that JSON does not have are not looked at.
    """
    types = _field_types(of)
    found = {name: value for name, value in from_json_keys(values, json_keys).items() if name in types}
    for name, value in found.items():
        if not _is_of(value, types[name]):
            kind = getattr(types[name], "__name__", None) if not get_args(types[name]) else None
            raise TypeError(f"{json_keys.get(name, name)} is {value!r}, and should be {kind or types[name]}")
    return found


@cache
def _field_types(of: type) -> dict[str, Any]:
    hints = get_type_hints(of)
    return {field.name: hints[field.name] for field in fields(of)}


def _is_of(value: Any, kind: Any) -> bool:
    """Whether a JSON value is of a type; whole numbers are floats too, and booleans are no numbers."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(_is_of(value, one) for one in arguments)
    if origin is list:
        return isinstance(value, list) and all(_is_of(one, arguments[0]) for one in value)
    if origin is dict:
        return isinstance(value, dict) and all(_is_of(one, arguments[1]) for one in value.values())
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    return isinstance(value, kind) if kind in (str, bool, NoneType) else True

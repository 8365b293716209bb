"""Keeps what is text as it is written: keys of mappings such as event types, and words and numbers in yaml files.

Hydra and yaml read a key before they know of which type it should be, and OmegaConf then refuses the number 1. PyYAML
takes `no` and `off` for truth values, 007 for the number 7 and 1e3 for 1000.0, before anyone knows what a key holds: an
event type `no` would be called "false". Here a number or a truth value is what is written as one is printed (12, -0.5,
1.0e-05, true); everything else is text. OmegaConf makes of text what a key holds: `restore: yes` is true, and
`learning_rate: 1e-3` is 0.001.
"""

import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from omegaconf import DictConfig, _utils

from data.artifacts.errors import ConfigError

KEYS = re.compile(r"(?:^\{|,)\s*(?P<text>[^\s{}\[\],:'\"]+)\s*(?=:)")
"""A key of a mapping whose values hold neither mappings nor lists."""

INNER = re.compile(r"\{[^{}]*\}|\[[^\[\]]*\]")
"""A mapping or a list that holds no others."""


def accept_numbers_as_text() -> None:
    """Has OmegaConf take a number or a truth value for a key of text as what it is written as: 1 is "1", true "true".

    It may be called again.
    """
    original = DictConfig._s_validate_and_normalize_key
    if hasattr(original, "__wrapped__"):
        return

    @wraps(original)
    def normalized(self: DictConfig, key_type: Any, key: Any) -> Any:
        return original(self, key_type, _text(key) if key_type is str else key)

    DictConfig._s_validate_and_normalize_key = normalized  # type: ignore[method-assign]


def _text(key: Any) -> Any:
    if isinstance(key, bool):
        return str(key).lower()
    return str(key) if isinstance(key, int | float) else key


def refuse_other_spellings(key: str, value: str, cast: re.Pattern[str]) -> None:
    """Refuses a key that Hydra would read as a number or a truth value which is written in another way, such as 007.

    Args:
        key: that of the mapping of text, for the message.
        value: a mapping as Hydra reads it, without quotes.
        cast: what Hydra reads as a number or a truth value.

    Raises:
        ConfigError: there is such a key.
    """
    while (shorter := value[:1] + INNER.sub("", value[1:])) != value:
        value = shorter
    for found in KEYS.finditer(value):
        text = found["text"]
        if cast.fullmatch(text) and not re.fullmatch(r"-?[1-9]\d*|0|true|false", text):
            raise ConfigError(
                f"{key}: the key {text} would be read as a number or a truth value; give the mapping in a yaml file,"
                f" and its key in quotes there: '{text}'"
            )


TAG = "tag:yaml.org,2002:"


class _AsPrinted:
    """In place of a pattern of yaml's: matches what it matches, if that is read as something that is printed so."""

    def __init__(self, pattern: re.Pattern[str], printed: Callable[[str], str]) -> None:
        self._pattern, self._printed = pattern, printed

    def match(self, value: str) -> bool:
        if self._pattern.match(value) is None:
            return False
        try:
            return self._printed(value) == value
        except ValueError:  # such as 0x1F, and 12:30, which yaml takes for 750
            return False


def _printed_float(value: str) -> str:
    if value.lower().endswith((".inf", ".nan")):
        return value
    printed = str(float(value))
    in_yaml = printed if "." in printed else printed.replace("e", ".0e")  # 1e-05 is 1.0e-05 there
    return in_yaml if value == in_yaml else printed


PRINTED: dict[str, Callable[[str], str]] = {
    f"{TAG}bool": lambda value: value if value in ("true", "false") else "",
    f"{TAG}int": lambda value: str(int(value)),
    f"{TAG}float": _printed_float,
}
"""How a value is printed that yaml reads as one of this type."""


def keep_text() -> None:
    """Has OmegaConf, and so Hydra, read yaml files in this way. It may be called again."""
    original = _utils.get_yaml_loader
    if hasattr(original, "__wrapped__"):
        return

    @wraps(original)
    def loader() -> Any:
        found = original()
        found.yaml_implicit_resolvers = {
            first: [(tag, _AsPrinted(pattern, PRINTED[tag]) if tag in PRINTED else pattern) for tag, pattern in those]
            for first, those in found.yaml_implicit_resolvers.items()
        }
        return found

    _utils.get_yaml_loader = loader

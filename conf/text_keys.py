"""Keys of mappings that are text, such as event types, may be typed as numbers or truth values: `{1: {weight: 2}}`.

Hydra and yaml read a key before they know of which type it should be, and OmegaConf then refuses the number 1.
"""

import re
from functools import wraps
from typing import Any

from omegaconf import DictConfig

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

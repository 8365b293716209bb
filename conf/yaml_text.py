"""Keeps the words and numbers of yaml files as they are written, where their key is one of text.

PyYAML takes `no` and `off` for truth values, 007 for the number 7 and 1e3 for 1000.0, before anyone knows what a key
holds: an event type `no` would be called "false". Here a number or a truth value is what is written as one is printed
(12, -0.5, true); everything else is text. OmegaConf makes of text what a key holds: `restore: yes` is true, and
`learning_rate: 1e-3` is 0.001.
"""

import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from omegaconf import _utils

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
    return value if value.lower().endswith((".inf", ".nan")) else str(float(value))


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

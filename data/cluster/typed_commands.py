"""Commands as people type them: what is printed with a value in it can be copied into a shell, and Hydra reads it."""

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

SUMMARY = "summary.json"
"""The file in the folder of a command's run with what it returned."""

QUOTE = re.compile(r'(\\*)"')
END = re.compile(r"\\+$")


def command(*arguments: str) -> str:
    """The arguments as one line for a shell: in quotes where they have characters that are special there."""
    return shlex.join(arguments)


def override(key: str, value: Any) -> str:
    """The override by which Hydra gives a value to a key: a text in quotes where Hydra would take it otherwise.

    A path may hold `=`, `,`, brackets or letters of other scripts, all of which Hydra reads as something else.
    """
    if not isinstance(value, str):
        return f"{key}={_as_typed(value)}"
    plain = f"{key}={value}"
    return plain if _is_read_as(plain, value) else f"{key}={in_quotes(value)}"


def is_within(key: str, part: str) -> bool:
    """Whether a dotted key is a value or a group of this name, or within it."""
    return key == part or key.startswith(f"{part}.")


def touches(key: str, parts: Iterable[str]) -> bool:
    """Whether a dotted key is one of these values or groups, lies within one of them, or has one of them within it."""
    return any(is_within(key, part) or is_within(part, key) for part in parts)


def in_quotes(value: str) -> str:
    """A text in the quotes of Hydra's grammar, by which it is taken as it stands."""
    # a backslash is one, except before a quote, where two of them are; OmegaConf looks for `${` in what remains
    text = QUOTE.sub(lambda found: found[1] * 2 + '\\"', value.replace("${", "\\${"))
    return f'"{END.sub(lambda found: found[0] * 2, text)}"'


def _as_typed(value: Any) -> str:
    """A value in Hydra's grammar, all texts in quotes."""
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{name}:{_as_typed(of)}' for name, of in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_as_typed, value))}]"
    if isinstance(value, str):
        return in_quotes(value)
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _is_read_as(plain: str, value: str) -> bool:
    if "${" in value:
        return False
    try:
        parsed = OverridesParser.create().parse_override(plain)
    except HydraException:
        return False
    read = parsed.value()
    return isinstance(read, str) and not parsed.is_sweep_override() and read == value

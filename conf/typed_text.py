"""Keeps the text that is typed for keys of text, where Hydra would make a number or a truth value of it.

Hydra reads a value before it knows the type of its key: `items=[1_000]` would be the item 1000, `find=81e7` the
beginning 810000000.0, and a label `true` the text True. In quotes of Hydra's own, each is what was typed.
"""

import re
import types
from collections.abc import Iterable, Sequence
from dataclasses import is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

from conf.verbs import override_key
from data.sources.source import SourceConfig, sources

CAST = r"[+-]?(?:[\d._]*\d[\d._]*(?:[eE][+-]?[\d_]+)?|[iI][nN][fF]|[nN][aA][nN])|[tT][rR][uU][eE]|[fF][aA][lL][sS][eE]"
"""What Hydra reads as a number or a truth value; a little more, which quotes do not change."""

AS_TYPED = re.compile(r"-?[1-9]\d*|0")
"""Whole numbers whose text is what Hydra's number is written as."""

QUOTED = r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|\\."

ALONE = re.compile(rf"{QUOTED}|(?P<before>(?:^|[,\[])\s*)(?P<text>{CAST})(?=\s*(?:$|[,\]]))")
"""A value of its own, in a list, or of a sweep."""

BEHIND_A_KEY = re.compile(rf"{QUOTED}|(?P<before>:\s*)(?P<text>{CAST})(?=\s*[,}}])")
"""A value in a mapping."""


def text_kept(arguments: Sequence[str], config: type) -> list[str]:
    """The arguments, with quotes around what Hydra would cast, in the overrides of keys of text.

    Args:
        arguments: overrides, and other arguments, which stay as they are.
        config: the dataclass of the root config.
    """
    return [_kept(argument, config) for argument in arguments]


def _kept(argument: str, config: type) -> str:
    key, is_override, value = argument.partition("=")
    if not is_override or not _is_text([config], override_key(argument).split(".")):
        return argument
    value = value.strip()
    if "(" in re.sub(QUOTED, "", value):  # a function of Hydra's, such as range(1,3)
        return argument
    return f"{key}={(BEHIND_A_KEY if value.startswith('{') else ALONE).sub(_in_quotes, value)}"


def _in_quotes(found: re.Match[str]) -> str:
    text = found["text"]
    return found[0] if text is None or AS_TYPED.fullmatch(text) else f"{found['before']}'{text}'"


def _is_text(hints: Iterable[Any], path: Sequence[str]) -> bool:
    """Whether all types that have this key within them hold text there, or lists or mappings of text, and some do."""
    if path:
        within = [inner for hint in hints for inner in _within(hint, path[0])]
        return bool(within) and _is_text(within, path[1:])
    return all(_without_null(hint) in (str, list[str], dict[str, str]) for hint in hints)


def _within(hint: Any, name: str) -> list[Any]:
    """The type that a key of this name has in a type; those of all registered sources, where a source is configured."""
    hint = _without_null(hint)
    if hint is SourceConfig:
        return [inner for source in sources().values() for inner in _within(source, name)]
    if get_origin(hint) is dict:
        return [get_args(hint)[1]]
    found = get_type_hints(hint).get(name) if is_dataclass(hint) else None
    return [] if found is None else [found]


def _without_null(hint: Any) -> Any:
    if get_origin(hint) not in (Union, types.UnionType):
        return hint
    others = [each for each in get_args(hint) if each is not type(None)]
    return others[0] if len(others) == 1 else hint

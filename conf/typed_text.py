"""Keeps the text that is typed for keys of text, where Hydra would make a number or a truth value of it.

Hydra reads a value before it knows the type of its key: `items=[1_000]` would be the item 1000, `find=81e7` the
beginning 810000000.0, and a label `true` the text True. In quotes of Hydra's own, each is what was typed.
"""

import re
import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

from conf.text_as_written import refuse_other_spellings
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

    Raises:
        ConfigError: a key of a mapping would be another text.
    """
    return [_kept(argument, config) for argument in arguments]


def _kept(argument: str, config: type) -> str:
    key, is_override, value = argument.partition("=")
    value, path = value.strip(), override_key(argument).split(".")
    if is_override and value.startswith("{") and _are_all([config], path, _has_keys_of_text):
        refuse_other_spellings(override_key(argument), re.sub(QUOTED, "", value), re.compile(CAST))
    if not is_override or not _are_all([config], path, _is_text):
        return argument
    if "(" in re.sub(QUOTED, "", value):  # a function of Hydra's, such as range(1,3)
        return argument
    return f"{key}={(BEHIND_A_KEY if value.startswith('{') else ALONE).sub(_in_quotes, value)}"


def _in_quotes(found: re.Match[str]) -> str:
    text = found["text"]
    return found[0] if text is None or AS_TYPED.fullmatch(text) else f"{found['before']}'{text}'"


def _are_all(hints: Iterable[Any], path: Sequence[str], accepted: Callable[[Any], bool]) -> bool:
    """Whether all types that have this key within them are accepted there, and some are."""
    if path:
        within = [inner for hint in hints for inner in _within(hint, path[0])]
        return bool(within) and _are_all(within, path[1:], accepted)
    return all(accepted(_without_null(hint)) for hint in hints)


def _is_text(hint: Any) -> bool:
    """Whether a type holds text, or a list or a mapping of text."""
    return hint in (str, list[str], dict[str, str])


def _has_keys_of_text(hint: Any) -> bool:
    return get_origin(hint) is dict and get_args(hint)[0] is str


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

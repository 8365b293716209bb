"""Lists in a cell of a table as pandas and JSON write them: "['Action', 'Comedy']", '["a","b"]', "[1, 2]"."""

import ast
import json
import warnings

import pyarrow as pa

from data.artifacts.records import arrow_compute as pc

ITEM = r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|(-?\d[\d.eE+-]*|null|None|nan|NaN|[tT]rue|[fF]alse)"""
"""A value of such a list: quoted text, or a number or word that needs no quotes. A tag such as [Live] is no list."""

LIST = rf"(?s)^\s*\[\s*(?:(?:{ITEM})(?:\s*,\s*(?:{ITEM})|\s+(?:{ITEM}))*)?\s*\]\s*$"
"""The whole text of such a list; NumPy puts spaces alone between values."""

BETWEEN = "\x1f"


def lists_as_text(text: pa.StringArray) -> pa.ListArray | None:
    """list<string> of the text's length: the values of each list, and blanks; null for other text. None without lists.

    Args:
        text: strings.
    """
    is_list = pc.match_substring_regex(text, LIST)
    if not pc.any(is_list).as_py():
        return None
    inner = pc.if_else(is_list, text, pa.scalar(None, text.type))
    inner = pc.replace_substring_regex(inner, r"(?s)^\s*\[\s*|\s*\]\s*$", "")
    joined = pc.replace_substring_regex(inner, rf"(?s)[\s,]*(?:{ITEM})[\s,]*", rf"\1\2\3{BETWEEN}")
    lists = pc.split_pattern(joined, BETWEEN)
    found = pa.ListArray.from_arrays(lists.offsets, _unescaped(lists.values))
    return pc.if_else(is_list, found, pa.scalar(None, found.type))


def _unescaped(values: pa.StringArray) -> pa.StringArray:
    """The values without backslashes before characters and without codes such as \\u00e9; each distinct one is read."""
    if not pc.any(pc.match_substring(values, "\\")).as_py():
        return values
    coded = values.dictionary_encode()
    distinct = [_read(value) if "\\" in value else value for value in coded.dictionary.to_pylist()]
    return pa.array(distinct, pa.string()).take(coded.indices)


def _read(value: str) -> str:
    """The text that a value between quotes stands for, in JSON or in Python; itself where it is neither."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a backslash that is none's escape
        for read, quote in ((json.loads, '"'), (ast.literal_eval, "'"), (ast.literal_eval, '"')):
            try:
                found = str(read(f"{quote}{value}{quote}"))
            except (ValueError, SyntaxError):
                continue
            return found.encode("utf-8", "replace").decode()
    return value

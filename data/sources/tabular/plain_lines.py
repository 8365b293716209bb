"""Text files without quotes, whole and as lines: each ends where LF, CRLF or CR does, and nowhere else."""

import codecs
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from data.artifacts.folders import Folder
from data.artifacts.records import arrow_compute as pc
from data.sources.files import UTF_16_MARKS, content_of
from data.sources.schema import DataError

OTHER_BREAKS = "\v\f\x1c\x1d\x1e\x85\u2028\u2029"
"""What other programs take for the end of a line too."""

MAX_BYTES = 2**31 - 1
"""Largest number of bytes in the lines of a file, as many as an Arrow array of strings has."""


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of a file that are not empty.

    Attributes:
        file: the file.
        text: string [num_lines]: the lines, without the white space around them.
        is_kept: bool [number of all lines]: whether a line of the file is one of them.
    """

    file: Folder
    text: pa.StringArray
    is_kept: pa.BooleanArray

    def number(self, index: int) -> int:
        """The number in the file, which counts from 1, of the line at an index of `text`."""
        return int(pc.indices_nonzero(self.is_kept)[index].as_py()) + 1

    def table(self, separator: str, names: Sequence[str]) -> pa.Table:
        """The fields of all lines as a table of strings.

        Args:
            separator: the text between two fields, which may be longer than one character.
            names: the names of all columns, in the file's order.

        Raises:
            DataError: a line has more or fewer fields than there are names.
        """
        fields = pc.split_pattern(self.text, separator)
        self.refuse(
            pc.not_equal(pc.list_value_length(fields), len(names)),
            f"{len(names)} fields separated by {separator!r} expected in each line",
        )
        flat = pc.list_flatten(fields)
        return pa.table({name: flat.take(np.arange(i, len(flat), len(names))) for i, name in enumerate(names)})

    def refuse(self, is_wrong: pa.Array | pa.ChunkedArray, expected: str) -> None:
        """Refuses the file if a line is wrong.

        Args:
            is_wrong: bool [num_lines]; null counts as false.
            expected: what is due, for the message.

        Raises:
            DataError: there is such a line; the message has its number and its text.
        """
        if pc.any(is_wrong).as_py():
            row = pc.index(is_wrong, True).as_py()
            raise DataError(f"{self.file}: {expected}, not {self.text[row].as_py()!r} in line {self.number(row)}")


def lines(file: Folder) -> Lines:
    """Reads a text file into memory. It is decoded as latin-1 if it is not UTF-8.

    Raises:
        DataError: as for `content_of`, or it is UTF-16, or has NUL characters, which no text of one of the two has, or
            it has a line break that is none of LF, CRLF and CR.
    """
    split = pc.split_pattern(_text(file), "\n").flatten().cast(pa.string())
    trimmed = pc.utf8_trim_whitespace(split)
    is_kept = pc.not_equal(trimmed, "")
    return Lines(file, trimmed.filter(is_kept), is_kept)


def _text(file: Folder) -> pa.LargeStringArray:
    """The content of a file as one string, whose lines end in LF."""
    content = content_of(file)
    if content.startswith(UTF_16_MARKS):
        raise DataError(f"{file}: begins as UTF-16 does, and is read as UTF-8: save it as UTF-8")
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if (at := content.find(0)) >= 0:
        raise DataError(
            f"{file}: has a NUL character in line {_line(content, at)}, as UTF-16 has many, and is read as UTF-8: save"
            " it as UTF-8, or remove what is no text"
        )
    text, is_utf_8 = _one_string(content), True
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        content, is_utf_8 = content.decode("latin-1").encode(), False
        text = _one_string(content)
    if len(content) > MAX_BYTES:
        raise DataError(f"{file}: has more than {MAX_BYTES:,} bytes of text: write it as Parquet, for data=parquet")
    _refuse_other_breaks(file, content, is_utf_8)
    return text


def _one_string(content: bytes) -> pa.LargeStringArray:
    """The content, which is not copied, without a byte order mark."""
    start = len(codecs.BOM_UTF8) if content.startswith(codecs.BOM_UTF8) else 0
    ends = pa.py_buffer(np.array([start, len(content)], np.int64))
    return pa.LargeStringArray.from_buffers(1, ends, pa.py_buffer(content))


def _refuse_other_breaks(file: Folder, content: bytes, is_utf_8: bool) -> None:
    """Raises DataError if the content, in UTF-8, has one of OTHER_BREAKS."""
    found = [(at, mark) for mark in OTHER_BREAKS if (at := content.find(mark.encode())) >= 0]
    if found:
        at, mark = min(found)
        other = "" if is_utf_8 else "; the file is not UTF-8 and read as latin-1: if it is cp1252, save it as UTF-8"
        raise DataError(
            f"{file}: line {_line(content, at)} holds the character U+{ord(mark):04X}, which may be meant to end a line"
            f" and ends none: end lines by LF, CRLF or CR, or remove it{other}"
        )


def _line(content: bytes, at: int) -> int:
    return content.count(b"\n", 0, at) + 1

"""A text file with columns as a stream of UTF-8, which counts what tells whether a row spans several lines."""

import codecs
from dataclasses import dataclass

import numpy as np

from data.artifacts.folders import Folder
from data.sources.files import opened, refuse_binary
from data.sources.tabular.escapes import ODD_ESCAPE, Escapes

UTF_8 = ("utf-8", "utf-8-sig")

LENGTHENED = 2
"""The most by which a block becomes longer where escapes are escaped."""


@dataclass(frozen=True, slots=True)
class Delimited:
    """The layout of a text file with columns. All its characters are ASCII.

    Attributes:
        delimiter: the one character between columns.
        names: the names of the columns, in the file's order; None means that the file's first line has them.
        quote: the character that may enclose values, which may then hold delimiters and line breaks; None if there is
            none. Doubled within such a value, it stands for itself.
        escape: the character before a quote, delimiter or line break that belongs to a value; None if there is none.
            Before any other character it stands for itself, so that "\\N" is a value which may mean that there is none.
        encoding: of the text, such as "latin-1".
        has_settings: whether the user can set all this in `data.source`, for error messages.
    """

    delimiter: str = ","
    names: tuple[str, ...] | None = None
    quote: str | None = '"'
    escape: str | None = None
    encoding: str = "utf-8"
    has_settings: bool = False


class TextStream:
    """The file object that pyarrow's CSV reader reads from.

    It decodes the file and drops a byte order mark. Its blocks never end in "\\r": of a line break "\\r\\n" that two
    blocks share, pyarrow would drop the "\\n", even inside a quoted value. It escapes an escape before a character that
    needs none, which pyarrow would drop.

    Args:
        marks_odd: whether ODD_ESCAPE takes the place of such an escape.
        is_lenient: whether bytes that are no UTF-8 become U+FFFD, where the text should be UTF-8.

    Attributes:
        num_lines: number of lines so far that are not empty.
        num_quotes: number of quotes so far that are not escaped.
        has_doubtful_quote: whether a quote stood neither at the begin nor at the end of a value, nor was doubled.
        has_backslash_quote: whether a quote stood behind a backslash that does not escape it.
    """

    closed = False

    def __init__(self, file: Folder, layout: Delimited, *, marks_odd: bool = False, is_lenient: bool = False) -> None:
        self.num_lines = self.num_quotes = 0
        self.has_doubtful_quote = self.has_backslash_quote = False
        self._file, self._source = file, opened(file)
        is_utf_8 = codecs.lookup(layout.encoding).name in UTF_8
        self._decoder = None if is_utf_8 else codecs.getincrementaldecoder(layout.encoding)()
        if is_utf_8 and is_lenient:
            self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._is_start, self._is_over = True, False
        self._kept, self._last, self._has_line_end = b"", b"\n", False
        self._quote = (layout.quote or "").encode()
        self._unfinished = [c.encode() for c in ("\r", layout.quote, layout.escape) if c]
        self._escape = ord(layout.escape) if layout.escape else None
        self._escapes: Escapes | None = None
        if layout.escape:
            self._unfinished.append(f"{layout.escape}N".encode())
            instead = ODD_ESCAPE if marks_odd else 2 * layout.escape
            self._escapes = Escapes(layout.delimiter, layout.quote, layout.escape, instead)
        pairs = (layout.escape, layout.delimiter, "\n", "\r", 2 * (layout.quote or "\n")) if layout.escape else ()
        self._unclear = [f"{layout.escape}{pair}".encode() for pair in pairs]  # what a look at neighbours cannot judge
        self._tail = b""
        self._beside = np.zeros(256, dtype=bool)  # what may stand before an opening or behind a closing quote
        self._beside[[ord(c) for c in (layout.delimiter, "\n", "\r", layout.quote or "\n")]] = True

    def read(self, size: int = 1 << 20) -> bytes:
        """The next bytes of the text, at most `size` of them; none at its end."""
        block, self._kept = self._kept, b""
        size = size if self._escapes is None else max(size // LENGTHENED, 4)
        while not self._is_over and (len(block) < 3 or (self._is_first_line(block) and len(block) < size // 2)):
            block += self._decoded(size - len(block))
        if not self._is_over and (end := next(filter(block.endswith, self._unfinished), b"")):
            block, self._kept = block[: -len(end)], end
        if block and self._is_over and self._is_first_line(block):
            block += b"\n"  # pyarrow takes a line of names without an end for an empty file
        if block:
            self._count(block)
        return self._escapes.rewritten(block) if block and self._escapes is not None else block

    @property
    def has_odd_escape(self) -> bool:
        """Whether an escape has stood before a character that needs none, other than in a value "\\N"."""
        return self._escapes is not None and self._escapes.has_odd

    def _is_first_line(self, block: bytes) -> bool:
        """Whether the text has no line break up to the end of this block."""
        return not (self._has_line_end or b"\n" in block or b"\r" in block)

    def close(self) -> None:
        """Closes the file."""
        self.closed = True
        self._source.close()

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def _decoded(self, size: int) -> bytes:
        """The next bytes in UTF-8; there may be none although the text goes on."""
        raw = self._source.read(size if self._decoder is None else max(size // 4, 1))  # a byte may become 3 of UTF-8
        if self._is_start:
            refuse_binary(self._file, raw)
        self._is_over = not raw
        if self._decoder is None:
            text = raw.removeprefix(codecs.BOM_UTF8) if self._is_start else raw
        else:
            text = self._decoder.decode(raw, final=self._is_over).encode()
            text = text.removeprefix(codecs.BOM_UTF8) if self._is_start else text
        self._is_start = self._is_start and not text
        return text

    def _count(self, block: bytes) -> None:
        if self._escape is not None:
            edge, self._tail = self._tail + block[:2], block[-2:]
            self.has_doubtful_quote |= any(pair in part for pair in self._unclear for part in (edge, block))
        if self._quote and self._quote in block:
            starts_behind = self._last == b"\\" and block.startswith(self._quote)
            if self._escape is None and (starts_behind or b"\\" + self._quote in block):
                self.has_backslash_quote = self.has_doubtful_quote = True
            self._judge_quotes(np.frombuffer(block, np.uint8))
        if b"\r" in block:
            block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        ends = block.count(b"\n")
        text = np.frombuffer(block, np.uint8) if b"\n\n" in block else np.zeros(0, np.uint8)
        empty = int(np.count_nonzero((text[1:] == 10) & (text[:-1] == 10)))
        begins = self._last == b"\n" and not block.startswith(b"\n")
        self.num_lines += begins + ends - empty - block.endswith(b"\n")  # a line counts where it begins
        self._has_line_end |= ends > 0
        self._last = block[-1:]

    def _judge_quotes(self, block: np.ndarray) -> None:
        """Looks at the characters beside each quote of a block, uint8 [bytes]; the last byte is one at the end only.

        If no value has a stray quote, every other quote opens a value, or goes on with it behind its doubled quote; the
        quotes between them close one, or double a quote.
        """
        at = np.flatnonzero(block == self._quote[0])
        if self._escape is not None:
            before = block[at - 1]
            before[0] = block[at[0] - 1] if at[0] else self._last[0]
            at = at[before != self._escape]
        num_open = self.num_quotes % 2
        opening, closing = at[num_open::2], at[1 - num_open :: 2]
        self.num_quotes += len(at)
        if len(opening) and opening[0] == 0:
            self.has_doubtful_quote |= not self._beside[self._last[0]]
            opening = opening[1:]
        if len(closing) and closing[-1] == len(block) - 1:
            closing = closing[:-1]
        is_placed = self._beside[block[opening - 1]].all() and self._beside[block[closing + 1]].all()
        self.has_doubtful_quote |= not is_placed

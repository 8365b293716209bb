"""Escapes before characters that need none, such as the "\\N" of MySQL and Hive: parsers would leave an "N" of it."""

import re

import numpy as np

ODD_ESCAPE = "\U0010fffd"
"""A character that no text has; it can stand for such an escape."""

NO_NULL = re.compile(rf"(?<=\w){ODD_ESCAPE}|{ODD_ESCAPE}(?!N\b)")
"""Finds such an escape unless it makes a "\\N" that stands alone, as a value or as one of a list."""


class Escapes:
    """The escapes of a stream of text, which is given block by block.

    An escape before another one escapes that, so that its own meaning depends on what stands before.

    Args:
        delimiter: the character between columns.
        quote: the character that may enclose values.
        escape: the character before a quote, delimiter, line break or escape that belongs to a value.
        instead: what takes the place of an escape before any other character.

    Attributes:
        has_odd: whether there was such an escape so far, other than in a value "\\N".
    """

    def __init__(self, delimiter: str, quote: str | None, escape: str, instead: str) -> None:
        self.has_odd = False
        self._escape, self._instead = escape.encode(), np.frombuffer(instead.encode(), np.uint8)
        self._beside = _mask(delimiter, "\n", "\r", quote)
        self._escaped = self._beside | _mask(escape)
        self._is_open, self._last = False, b"\n"

    def rewritten(self, block: bytes) -> bytes:
        """The block with `instead` for each escape before a character that needs none.

        Args:
            block: neither a single escape nor a value "\\N" is cut at its end.
        """
        last, self._last = self._last[0], block[-1:]
        if self._escape not in block:
            self._is_open = False
            return block
        text = np.frombuffer(block, np.uint8)
        at = self._escaping(text)
        odd = at[~self._escaped[text[at + 1]]]
        if not len(odd):
            return block
        before = np.where(odd > 0, text[odd - 1], last)
        behind = np.append(text, ord("\n"))[odd + 2]
        is_null = (text[odd + 1] == ord("N")) & self._beside[before] & self._beside[behind]
        self.has_odd |= not is_null.all()
        found = text.copy()
        found[odd] = self._instead[-1]
        more = self._instead[:-1]
        return np.insert(found, np.repeat(odd, len(more)), np.tile(more, len(odd))).tobytes()

    def _escaping(self, text: np.ndarray) -> np.ndarray:
        """The places of the escapes that are not escaped themselves, and behind which a character stands."""
        at = np.flatnonzero(text == self._escape[0])
        starts = np.flatnonzero(np.diff(at, prepend=-2) != 1)  # of runs of escapes
        lengths = np.diff(starts, append=len(at))
        number = np.arange(len(at)) - np.repeat(starts, lengths)
        if self._is_open and at[0] == 0:
            number[: lengths[0]] += 1
        at = at[number % 2 == 0]
        self._is_open = bool(len(at)) and bool(at[-1] == len(text) - 1)
        return at[:-1] if self._is_open else at


def _mask(*characters: str | None) -> np.ndarray:
    mask = np.zeros(256, dtype=bool)
    mask[[ord(character) for character in characters if character]] = True
    return mask

"""Search by id and title among millions of rows, without an index server.

All texts lie in one buffer, folded (lower case, without accents), the heaviest row first. A search is one for bytes in
it, which Python does in C at gigabytes per second; it stops at the first hits, which are those of the heaviest rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MAX_QUERY = 256
"""Characters of a query that count."""

MAX_LOOKED_AT = 20_000
"""Rows with the rarest of several words that are looked at for the others."""

BEFORE_TITLE, AFTER_ROW = "\t", "\n"
"""Between id and title in the buffer, and at the end of each row; no folded text has them."""

SAMPLED_PART = 10
"""One part in so many of the buffer is looked through to find which of several words is the rarest."""

END = AFTER_ROW.encode()


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        rows: int64; the best rows, best first. They count from 1.
        has_more: Whether there are, or may be, further ones.
    """

    rows: np.ndarray
    has_more: bool


class TextSearch:
    """Finds rows by words: each word must be part of the id or the title.

    The row with just this id comes first, then ids that begin with the query, then titles that do, then others; among
    equals, the heaviest. Building takes seconds for a million rows, and a search milliseconds: call both in a thread.

    Args:
        ids: string; the id of row n is at index n - 1.
        titles: string of the same length; None where there are none.
        weights: of the same length, such as interactions.
    """

    def __init__(self, ids: pa.Array, titles: pa.Array | None, weights: np.ndarray) -> None:
        order = np.argsort(-np.asarray(weights), kind="stable")
        ids = folded(ids)
        by_id = np.argsort(ids.to_numpy(zero_copy_only=False), kind="stable") if not _is_sorted(ids) else None
        between, empty = (pa.scalar(one, pa.large_string()) for one in (BEFORE_TITLE, ""))
        parts = [ids, pa.scalar("", pa.large_string()) if titles is None else folded(titles)]
        rows = pc.binary_join_element_wise(*parts, between)
        joined = pc.binary_join_element_wise(rows, pa.scalar(AFTER_ROW, pa.large_string()), empty).take(pa.array(order))
        _, offsets, content = joined.buffers()
        self._ids = ids if by_id is None else ids.take(pa.array(by_id))
        self._by_id = by_id
        self._place = np.empty(len(order), dtype=np.int64)  # of each row in the buffer
        self._place[order] = np.arange(len(order))
        self._rows = order + 1
        self._starts = np.frombuffer(offsets, dtype=np.int64)[: len(order) + 1]
        self._text = b"" if content is None else content.to_pybytes()[: self._starts[-1]]

    def find(self, query: str, limit: int) -> Found:
        """Returns the best rows for a query; the heaviest ones of all for an empty query."""
        words = folded(pa.array([query[:MAX_QUERY]]))[0].as_py().split()
        if not words:
            return Found(self._rows[:limit], len(self._rows) > limit)
        text = " ".join(words)
        places, is_whole = self._with_all(words, limit + 1)
        begins = f"{BEFORE_TITLE}{text}".encode()
        if len(places) > limit:  # perhaps not all: those whose title begins so come first, wherever they are
            beginning = list(islice(self._hits(begins), limit + 1))
        else:
            beginning = [place for place in places if self._in_row(place, begins)]
        found = list(dict.fromkeys([*self._with_id(text, limit), *beginning, *places]))
        return Found(self._rows[np.array(found[:limit], dtype=np.int64)], len(found) > limit or not is_whole)

    def _with_id(self, text: str, limit: int) -> list[int]:
        """The places of the ids that begin with a text: that which is equal to it first, then by weight."""
        first = _bisect(self._ids, text)
        last = _bisect(self._ids, text + "\U0010ffff")
        at = np.arange(first, last) if self._by_id is None else self._by_id[first:last]
        is_equal = first < last and self._ids[first].as_py() == text
        equal = self._place[at[:1]].tolist() if is_equal else []
        places = self._place[at]
        if len(places) > limit:
            places = np.partition(places, limit)[: limit + 1]
        return equal + np.sort(places).tolist()

    def _hits(self, wanted: bytes) -> Iterator[int]:
        """The places, in order of weight, of the rows that contain a text."""
        position = 0
        while (position := self._text.find(wanted, position)) >= 0:
            yield int(np.searchsorted(self._starts, position, side="right")) - 1
            position = self._text.find(END, position)

    def _in_row(self, place: int, wanted: bytes) -> bool:
        return self._text.find(wanted, int(self._starts[place]), int(self._starts[place + 1])) >= 0

    def _with_all(self, words: list[str], limit: int) -> tuple[list[int], bool]:
        """The places, in order of weight, of the first rows with all words, and whether it has looked far enough."""
        wanted = list({word.encode() for word in words})
        if len(wanted) == 1:
            return list(islice(self._hits(wanted[0]), limit)), True
        text, end_of_sample = self._text, len(self._text) // SAMPLED_PART
        rarest, *others = sorted(wanted, key=lambda word: (text.count(word, 0, end_of_sample), -len(word)))
        found: list[int] = []
        position = 0
        for _ in range(MAX_LOOKED_AT):
            position = text.find(rarest, position)
            if position < 0 or len(found) == limit:
                return found, True
            start, end = text.rfind(END, 0, position) + 1, text.find(END, position)
            if all(text.find(other, start, end) >= 0 for other in others):
                found.append(int(np.searchsorted(self._starts, start, side="right")) - 1)
            position = end
        return found, False


def folded(texts: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Returns texts for comparison, large_string: lower case, without accents and control characters, "" for null."""
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    lower = pc.utf8_lower(pc.fill_null(texts.cast(pa.large_string()), ""))
    if pc.all(pc.string_is_ascii(lower)).as_py() is False:
        lower = pc.replace_substring_regex(pc.utf8_normalize(lower, form="NFKD"), r"\p{M}+", "")
    return pc.replace_substring_regex(lower, r"[\x00-\x1f\x7f]+", " ")


def _is_sorted(ids: pa.Array) -> bool:
    return len(ids) < 2 or pc.all(pc.less_equal(ids[:-1], ids[1:])).as_py() is True


def _bisect(ids: pa.Array, text: str) -> int:
    """The index of the first of some sorted ids that is not smaller than a text."""
    low, high = 0, len(ids)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if ids[middle].as_py() < text else (low, middle)
    return low

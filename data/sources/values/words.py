"""The words of a text in any script.

Where words stand apart, a word is what stands between spaces and punctuation, with its combining marks: those are the
vowels of Hindi and Arabic. Chinese, Japanese, Thai, Lao, Khmer and Burmese are written without spaces; there ICU's
dictionaries find the words (icu4py 1.2, Unicode's UAX 29).
"""

import numpy as np
import pyarrow as pa
from icu4py.breakers import WordBreaker

from data.artifacts.records import arrow_compute as pc

BREAK = r"[^\pL\pM\pN]+"
"""Whatever stands between words: neither letters, nor marks on them, nor digits, in any script."""

WITHOUT_SPACES = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
"""A character of a script that puts no spaces between words."""


def words(column: pa.Array) -> pa.ListArray:
    """list<string> of the column's length: the words of each text in lower case; some may be empty. Null gives null.

    Args:
        column: strings.
    """
    text = pc.utf8_trim_whitespace(pc.utf8_lower(pc.utf8_normalize(column, form="NFC")))
    lists = pc.split_pattern_regex(text, BREAK)
    flat = lists.flatten().dictionary_encode()
    is_joined = pc.match_substring_regex(flat.dictionary, WITHOUT_SPACES).to_numpy(zero_copy_only=False)
    if not is_joined.any():
        return lists
    joined = zip(flat.dictionary.to_pylist(), is_joined.tolist(), strict=True)
    parts = pa.array([list(WordBreaker(word, "en")) if split else [word] for word, split in joined], lists.type)
    of_word = parts.take(flat.indices)
    ends = np.concatenate([[0], np.cumsum(pc.list_value_length(of_word).to_numpy())])
    offsets = pa.array(ends[lists.offsets.to_numpy() - lists.offsets[0].as_py()], pa.int32())
    found = pa.ListArray.from_arrays(offsets, of_word.flatten())
    return pc.if_else(pc.is_valid(lists), found, pa.scalar(None, found.type))

"""`kind: text`: free text per row, split into words for the towers; neither filtered nor rendered."""

from typing import ClassVar

import pyarrow as pa

from data.artifacts.records import arrow_compute as pc
from data.sources.casts import labels
from data.sources.feature_kinds.kind import STRING, FeatureKind, register_feature_kind
from data.sources.values.words import words


@register_feature_kind("text")
class Text(FeatureKind):
    """Free text in any script."""

    arrow_type = STRING
    is_rendered = False
    is_free_text = True
    version: ClassVar[int] = 2

    def cast(self, column: pa.ChunkedArray, separator: str) -> pa.ChunkedArray:
        """string from strings, numbers, booleans or dates."""
        return labels(column)

    def value_lists(self, column: pa.Array) -> pa.ListArray:
        """The words of the text in lower case; some may be empty."""
        return words(column)


@register_feature_kind("text_v1")
class TextOfBefore(Text):
    """The text of checkpoints of version 0.1: words end at combining marks, and scripts without spaces stay whole."""

    version: ClassVar[int] = 1

    def value_lists(self, column: pa.Array) -> pa.ListArray:
        """What stands between characters that are neither letters nor digits, in lower case."""
        return pc.split_pattern_regex(pc.utf8_trim_whitespace(pc.utf8_lower(column)), r"[^\pL\pN]+")

"""`kind: text`: free text per row, split into words for the towers; neither filtered nor rendered."""

import pyarrow as pa
import pyarrow.compute as pc

from data.sources.casts import labels
from data.sources.feature_kinds.kind import STRING, FeatureKind, register_feature_kind

TOKEN_BREAK = r"[^\pL\pN]+"
"""Whatever stands between words: neither letters nor digits, in any script."""


@register_feature_kind("text")
class Text(FeatureKind):
    """Free text."""

    arrow_type = STRING
    is_rendered = False
    is_free_text = True

    def cast(self, column: pa.ChunkedArray, separator: str) -> pa.ChunkedArray:
        """string from strings, numbers, booleans or dates."""
        return labels(column)

    def value_lists(self, column: pa.Array) -> pa.ListArray:
        """The words of the text in lower case; some may be empty."""
        return pc.split_pattern_regex(pc.utf8_trim_whitespace(pc.utf8_lower(column)), TOKEN_BREAK)

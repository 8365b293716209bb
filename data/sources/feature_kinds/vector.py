"""`kind: vector`: a vector per row, such as an embedding of its text or picture; neither filtered nor rendered."""

import pyarrow as pa

from data.sources.feature_kinds.kind import VECTOR, FeatureKind, register_feature_kind
from data.sources.values.numbers import vectors


@register_feature_kind("vector")
class Vector(FeatureKind):
    """A vector per row, which the towers bring to length 1 and project."""

    arrow_type = VECTOR
    is_rendered = False

    def cast(self, column: pa.ChunkedArray, separator: str) -> pa.ChunkedArray:
        """list<float> from lists of numbers of any type, or from text with a separator between numbers."""
        return vectors(column, separator)

"""`kind: numeric`: one number per row, standardised for the towers, with filters on ranges."""

import pyarrow as pa

from data.sources.casts import numbers
from data.sources.feature_kinds.kind import COMPARISON, NUMBER, FeatureKind, register_feature_kind


@register_feature_kind("numeric")
class Numeric(FeatureKind):
    """One number per row."""

    arrow_type = NUMBER
    filter_operators = COMPARISON

    def cast(self, column: pa.ChunkedArray, separator: str) -> pa.ChunkedArray:
        """float64 from numbers, booleans or text."""
        return numbers(column)

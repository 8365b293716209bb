"""`kind: multi_categorical`: a set of values per row, with filters on what it contains."""

import pyarrow as pa

from data.sources.casts import value_sets
from data.sources.feature_kinds.kind import CONTAINMENT, STRINGS, FeatureKind, register_feature_kind


@register_feature_kind("multi_categorical")
class MultiCategorical(FeatureKind):
    """A set of values per row."""

    arrow_type = STRINGS
    filter_operators = CONTAINMENT

    def cast(self, column: pa.ChunkedArray, separator: str) -> pa.ChunkedArray:
        """list<string> from lists, or from text with a separator between values."""
        return value_sets(column, separator)

    def value_lists(self, column: pa.Array) -> pa.ListArray:
        """The column as it is: its values are lists already."""
        return column

"""`kind: categorical`: one value per row, with filters on equality."""

import numpy as np
import pyarrow as pa

from data.sources.casts import labels
from data.sources.feature_kinds.kind import EQUALITY, STRING, FeatureKind, register_feature_kind


@register_feature_kind("categorical")
class Categorical(FeatureKind):
    """One value per row."""

    arrow_type = STRING
    filter_operators = EQUALITY

    def cast(self, column: pa.ChunkedArray, separator: str) -> pa.ChunkedArray:
        """string from strings, numbers, booleans or dates."""
        return labels(column)

    def value_lists(self, column: pa.Array) -> pa.ListArray:
        """A list of the one value."""
        return pa.ListArray.from_arrays(np.arange(len(column) + 1, dtype=np.int32), column)

"""`kind: numeric`: one number per row, with filters on ranges; and how else the towers may take a number."""

from typing import ClassVar

import pyarrow as pa

from data.sources.feature_kinds.kind import COMPARISON, NUMBER, FeatureKind, NumberScale, register_feature_kind
from data.sources.values.numbers import numbers


@register_feature_kind("numeric")
class Numeric(FeatureKind):
    """One number per row, standardised for the towers."""

    arrow_type = NUMBER
    filter_operators = COMPARISON

    def cast(self, column: pa.ChunkedArray, separator: str) -> pa.ChunkedArray:
        """float64 from numbers, booleans or text."""
        return numbers(column)


@register_feature_kind("numeric_log")
class NumericLog(Numeric):
    """One number per row whose logarithm matters, such as a price or a number of views."""

    number_scale: ClassVar[NumberScale] = NumberScale.log


@register_feature_kind("numeric_quantiles")
class NumericQuantiles(Numeric):
    """One number per row by its bucket, for numbers that do not matter linearly, such as a year or an age."""

    number_scale: ClassVar[NumberScale] = NumberScale.quantiles

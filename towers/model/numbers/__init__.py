"""How the towers take numbers: what is fitted to a numeric feature, by its kind."""

from typing import Any

import numpy as np

from data.sources.feature_kinds.kind import FeatureKind, NumberScale
from towers.model.numbers.buckets import Buckets
from towers.model.numbers.scale import Scale


def number_scale(kind: FeatureKind, values_N: np.ndarray) -> Scale | Buckets:
    """What is fitted to a numeric feature of this kind.

    Args:
        values_N: float64; NaN and infinite values are missing.
    """
    if kind.number_scale is NumberScale.quantiles:
        return Buckets.of(values_N)
    return Scale.of(values_N, is_log=kind.number_scale is NumberScale.log)


def scale_of_json(values: Any) -> Scale | Buckets:
    """A scale or buckets, as their `as_json` returned them."""
    return Buckets.of_json(values) if isinstance(values, dict) else Scale.of_json(values)

"""Which items go with the values of the context of a request.

Shape legend: V values of all context features (row 0: missing or unknown), I items (row 0 = padding).
"""

from collections.abc import Sequence

import numpy as np

from data.dataset.prepared import PreparedDataset
from towers.model.context import Context

PRIOR_STRENGTH = 10.0
"""Prior strength m of `context_lift`: a value's overall share counts as much as this many interactions of an item."""


def context_lift(context: Context, dataset: PreparedDataset, splits: Sequence[str]) -> np.ndarray:
    """How much more frequent a context value is among an item's interactions than among all: float16 [V, I].

    log(p(value | item) / p(value)) with the m-estimate p(value | item) = (n(value, item) + m p(value)) / (n(item) + m)
    and m = PRIOR_STRENGTH, as in naive Bayes (Cestnik 1990). It is 0 in row 0 and for items without interactions. The
    interactions are read part by part.
    """
    lift_VI = np.zeros((context.num_values, dataset.items.num_rows), dtype=np.float16)
    if not len(context):
        return lift_VI
    count_VI, total_I = np.zeros(lift_VI.shape, dtype=np.int32), np.zeros(lift_VI.shape[1], dtype=np.int64)
    for part in dataset.parts(*splits, columns=["item_row", "context"]):
        items_N = part["item_row"].to_numpy()
        total_I += np.bincount(items_N, minlength=len(total_I))
        for rows_N in context.encode(part["context"].combine_chunks()).T:
            is_known_N = rows_N > 0
            cells, counts = np.unique(rows_N[is_known_N] * len(total_I) + items_N[is_known_N], return_counts=True)
            count_VI.reshape(-1)[cells] += counts.astype(np.int32)
    for row in np.flatnonzero(count_VI.any(1)):
        share = count_VI[row].sum() / total_I.sum()
        lift_VI[row] = np.log((count_VI[row] + PRIOR_STRENGTH * share) / (total_I + PRIOR_STRENGTH) / share)
    return lift_VI

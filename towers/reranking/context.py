"""Which items go with the values of the context of a request.

Shape legend: V values of all context features (row 0: missing or unknown), I items (row 0 = padding).
"""

from collections.abc import Sequence

import numpy as np

from data.dataset.prepared import PreparedDataset
from towers.model.context import Context, values_of

PRIOR_STRENGTH = 10.0
"""Prior strength m of `context_lift`: a value's overall share counts as much as this many interactions of an item."""


def context_lift(context: Context, dataset: PreparedDataset, splits: Sequence[str]) -> np.ndarray:
    """How much more frequent a context value is among an item's interactions than among all: float16 [V, I].

    log(p(value | item) / p(value)) with the m-estimate p(value | item) = (n(value, item) + m p(value)) / (n(item) + m)
    and m = PRIOR_STRENGTH, as in naive Bayes (Cestnik 1990). It is 0 in row 0 and for items without interactions.
    """
    lift_VI = np.zeros((context.num_values, len(dataset.items.ids)), dtype=np.float16)
    if not len(context):
        return lift_VI
    items_N = dataset.interactions(*splits, columns=["item_row"])["item_row"].to_numpy()
    total_I = np.bincount(items_N, minlength=lift_VI.shape[1])
    for rows_N in context.encode(values_of(dataset, splits)).T:
        for row in np.unique(rows_N[rows_N > 0]):
            count_I = np.bincount(items_N[rows_N == row], minlength=len(total_I))
            share = count_I.sum() / len(items_N)
            lift_VI[row] = np.log((count_I + PRIOR_STRENGTH * share) / (total_I + PRIOR_STRENGTH) / share)
    return lift_VI

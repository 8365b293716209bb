"""Carries a fitted re-ranker over to other towers of the same dataset, such as those of a later period.

Most signals are cosines, scores and counts, which mean the same over any towers. The deep part also reads vectors,
whose axes mean something else in each training. The axes are brought together by the orthogonal map that takes
the new item vectors closest to the old ones (orthogonal Procrustes, Schoenemann 1966); every dot product stays as it
is.

Shape legend: I items (row 0 = padding), D dimension.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from towers.model.features import FeatureEncoder
from towers.model.numbers.buckets import Buckets
from towers.model.numbers.scale import Scale
from towers.reranking.reranker import Reranker

OF_THE_TOWERS = ("lift_VI", "deep.alignment_DD")
"""Parts of a re-ranker's state that belong to the towers and their splits, and are not carried over."""

VALUE_TABLE = "deep.item_features.tables.{}.weight"
"""The name of the embeddings of a feature's values: one row for each value or bucket that is known, and row 0."""

NUMBERS = "deep.item_features.linear.weight"
"""The name of the weights of numbers: a column for each, and then one for each that says that it is missing."""


@torch.no_grad()
def carry_over(
    source: Reranker, target: Reranker, fitted_I: Tensor, known: FeatureEncoder, target_known: FeatureEncoder
) -> None:
    """Gives `target` the weights and calibration of `source`, and aligns its towers' vectors with those of `source`.

    The target is in eval mode afterwards.

    Args:
        target: an unfitted re-ranker with `is_carried`, of the same config, catalogue and context as `source`.
        fitted_I: bool, the items that the towers of `source` were fitted on; the others do not decide the alignment.
        known, target_known: what the towers of `source` and of `target` know of the items' features. A value that is
            new to `target` counts as unknown. A bucket of numbers takes over what the one with its lower edge means. A
            number that was the same for all items of `source` adds nothing.
    """
    state = {name: tensor for name, tensor in source.state_dict().items() if name not in OF_THE_TOWERS}
    for feature, rows_V in _known_rows(known, target_known):
        if (key := VALUE_TABLE.format(feature)) in state:
            rows = torch.from_numpy(rows_V)
            state[key] = state[key][rows] * (rows > 0)[:, None]  # an unknown value adds nothing
    if NUMBERS in state:
        scales = (scale for scale in known.scales.values() if isinstance(scale, Scale))
        unread = [column for column, scale in enumerate(scales) if scale.limit == 0]  # weights as they were drawn
        state[NUMBERS] = state[NUMBERS].index_fill(1, torch.tensor(unread, dtype=torch.int64), 0.0)
    target.load_state_dict(target.state_dict() | state)
    target.eval()
    if target.deep is not None and target.deep.alignment_DD is not None:
        target.deep.alignment_DD.copy_(alignment(target.item_vectors_ID[fitted_I], source.item_vectors_ID[fitted_I]))


def _known_rows(source: FeatureEncoder, target: FeatureEncoder) -> Iterator[tuple[str, np.ndarray]]:
    """By feature with values or buckets, int64: for each of its rows in `target`, the row in `source`; 0 for none."""
    for feature, values in target.vocabularies.items():
        yield feature, source.vocabularies[feature].rows_of(values)
    for feature, scale in target.scales.items():
        if isinstance(scale, Buckets) and isinstance(before := source.scales[feature], Buckets):
            yield feature, before.rows_of(scale)


def alignment(from_ID: Tensor, to_ID: Tensor) -> Tensor:
    """The orthogonal matrix R, float32 [D, D], that minimises the Frobenius norm of from_ID @ R - to_ID."""
    left_DD, _, right_DD = torch.linalg.svd(from_ID.double().T @ to_ID.double())
    return (left_DD @ right_DD).float()

"""Carries a fitted re-ranker over to other towers of the same dataset, such as those of a later period.

Most signals are cosines, scores and counts, which mean the same over any towers. The deep part also reads vectors,
whose axes mean something else in each training. The axes are brought together by the orthogonal map that takes
the new item vectors closest to the old ones (orthogonal Procrustes, Schoenemann 1966); every dot product stays as it
is.

Shape legend: I items (row 0 = padding), D dimension.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from data.dataset.vocabulary import Vocabulary
from towers.reranking.reranker import Reranker

Vocabularies = Mapping[str, Vocabulary]
"""The vocabularies of the items' features, by feature name."""

OF_THE_TOWERS = ("lift_VI", "deep.alignment_DD")
"""Parts of a re-ranker's state that belong to the towers and their splits, and are not carried over."""

VALUE_TABLE = "deep.item_features.tables.{}.weight"
"""The name of the embeddings of a feature's values: one row for each value that the towers know, and row 0."""


@torch.no_grad()
def carry_over(
    source: Reranker, target: Reranker, fitted_I: Tensor, source_values: Vocabularies, target_values: Vocabularies
) -> None:
    """Gives `target` the weights and calibration of `source`, and aligns its towers' vectors with those of `source`.

    The target is in eval mode afterwards.

    Args:
        target: an unfitted re-ranker with `is_carried`, of the same config, catalogue and context as `source`.
        source_values, target_values: the feature values that the towers of each know; a value that is new to `target`
            counts as unknown.
        fitted_I: bool, the items that the towers of `source` were fitted on; the others do not decide the alignment.
    """
    state = {name: tensor for name, tensor in source.state_dict().items() if name not in OF_THE_TOWERS}
    for feature, values in target_values.items():
        if (key := VALUE_TABLE.format(feature)) in state:
            rows = torch.from_numpy(source_values[feature].rows_of(values))
            state[key] = state[key][rows] * (rows > 0)[:, None]  # an unknown value adds nothing
    target.load_state_dict(target.state_dict() | state)
    target.eval()
    if target.deep is not None and target.deep.alignment_DD is not None:
        target.deep.alignment_DD.copy_(alignment(target.item_vectors_ID[fitted_I], source.item_vectors_ID[fitted_I]))


def alignment(from_ID: Tensor, to_ID: Tensor) -> Tensor:
    """The orthogonal matrix R, float32 [D, D], that minimises the Frobenius norm of from_ID @ R - to_ID."""
    left_DD, _, right_DD = torch.linalg.svd(from_ID.double().T @ to_ID.double())
    return (left_DD @ right_DD).float()

"""Explanations in answers: where each item of an answer came in retrieval and re-ranking, and what it is near to."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from data.dataset.vocabulary import Vocabulary
from serve.pipeline.messages import Explanation


def explanations(
    rows: Sequence[int], explanation: Explanation, items: Vocabulary, denied_rows: Sequence[int] = ()
) -> list[dict[str, Any]]:
    """Returns `serve.api.schemas.ItemExplanation` of each row of an answer, as JSON values.

    Args:
        items: The release's vocabulary of item ids.
        denied_rows: Items that no answer names, not even as one that the user once had.
    """
    candidates, ranked, nearest = explanation.candidates, explanation.ranked, explanation.nearest
    ranks = {} if candidates is None else {row: rank for rank, row in enumerate(candidates.rows_K.tolist(), 1)}
    scores = [] if candidates is None else candidates.scores_K.tolist()
    rerank_scores = {} if ranked is None else dict(zip(ranked.rows_K.tolist(), ranked.scores_K.tolist(), strict=True))
    near: list[list[dict[str, Any]]] = [[] for _ in rows]
    if nearest is not None:
        ids = items.ids(nearest.rows_KH.ravel()).to_pylist()
        is_denied = np.isin(nearest.rows_KH.ravel(), denied_rows).tolist()
        found = zip(ids, nearest.cosines_KH.ravel().tolist(), is_denied, strict=True)
        each = [None if denied else {"id": id_, "cosine": cosine} for id_, cosine, denied in found]
        width = nearest.rows_KH.shape[1]
        near = [list(filter(None, each[start : start + width])) for start in range(0, len(each), width)]
    return [
        {
            "retrieval_rank": ranks.get(row),
            "retrieval_score": scores[ranks[row] - 1] if row in ranks else None,
            "rerank_score": rerank_scores.get(row),
            "nearest_history": near_row,
        }
        for row, near_row in zip(rows, near, strict=True)
    ]

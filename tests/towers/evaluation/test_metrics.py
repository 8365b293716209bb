"""Metrics and exact retrieval, worked by hand and against a plain definition."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data.sequences.histories import Sequences
from towers.evaluation.metrics import hits, per_query
from towers.evaluation.retrieval import mask_seen, top_k


def test_metrics_by_hand() -> None:
    ranked = np.array([[3, 1, 2], [5, 6, 7]])
    relevant = (np.array([0, 0, 1]), np.array([1, 9, 4]))
    hit = hits(ranked, relevant, num_items=10)
    assert hit.tolist() == [[False, True, False], [False, False, False]]
    values = per_query(hit, np.array([2, 1]), [1, 3])
    assert values["recall@3"].tolist() == [0.5, 0.0]
    assert values["recall@1"].tolist() == [0.0, 0.0]
    assert values["mrr@3"].tolist() == [0.5, 0.0]
    assert values["hit_rate@3"].tolist() == [1.0, 0.0]
    assert values["ndcg@3"][0] == pytest.approx((1 / math.log2(3)) / (1 + 1 / math.log2(3)))


def test_short_rankings_end_in_minus_1() -> None:
    assert hits(np.array([[-1, -1]]), (np.array([0]), np.array([9])), 10).tolist() == [[False, False]]


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 12))
def test_top_k_is_the_sort_by_score_then_row(seed: int, k: int) -> None:
    scores = torch.from_numpy(np.random.default_rng(seed).integers(0, 4, (5, 12)).astype(np.float32))
    rows, values = top_k(scores, k)
    for query in range(5):
        wanted = sorted(range(12), key=lambda row: (-scores[query, row].item(), row))[:k]
        assert rows[query].tolist() == wanted
        assert values[query].tolist() == scores[query, wanted].tolist()


def test_seen_items_and_the_unknown_row_are_masked() -> None:
    seen = Sequences(np.array([0, 0, 2]), np.array([3, 1], dtype=np.int32))
    masked = mask_seen(torch.ones(2, 5), seen, np.array([0, 1]))
    assert torch.isinf(masked).int().tolist() == [[1, 0, 0, 0, 0], [1, 1, 0, 1, 0]]

"""The re-ranker: retrieval order until fitted; fitting finds the feature that matters."""

import numpy as np
import pytest
import torch

from towers.reranker import FEATURES, Reranker, fit, order, tensors

ITEMS, DIM, QUERIES, K = 30, 8, 200, 10


def reranker() -> Reranker:
    vectors = torch.nn.functional.normalize(torch.randn(ITEMS, DIM, generator=torch.Generator().manual_seed(0)), dim=1)
    return Reranker(vectors, np.arange(ITEMS))


def candidates(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = np.stack([random.permutation(ITEMS - 1)[:K] + 1 for _ in range(QUERIES)])
    return np.sort(random.random((QUERIES, K)).astype(np.float32))[:, ::-1].copy(), rows, np.zeros((QUERIES, 10), int)


def test_unfitted_it_keeps_retrieval_order() -> None:
    scores, rows, history = candidates(np.random.default_rng(0))
    found = reranker()(*tensors(scores, rows, history)).detach().numpy()
    assert (order(found, rows) == np.arange(K)).all()


def test_fitting_finds_the_feature_that_matters() -> None:
    random, model = np.random.default_rng(0), reranker()
    scores, rows, history = candidates(random)
    hits = np.zeros((QUERIES, K), dtype=bool)
    hits[np.arange(QUERIES), model.popularity_I.numpy()[rows].argmax(1)] = True
    loss = fit(model, scores, rows, history, hits)
    weight = dict(zip(FEATURES, model.weight.tolist(), strict=True))
    assert loss < np.log(K) / 2
    assert weight["log_popularity"] > 10 * abs(weight["retrieval_score"])


def test_without_hits_nothing_changes() -> None:
    model = reranker()
    scores, rows, history = candidates(np.random.default_rng(0))
    assert np.isnan(fit(model, scores, rows, history, np.zeros((QUERIES, K), dtype=bool)))
    assert model.weight.tolist() == [1, 0, 0]


def test_the_nearest_recent_item_by_hand() -> None:
    model = Reranker(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]), np.array([0, 1, 1, 1]))
    history = np.array([[0, 1, 2]])  # padding, then items 1 and 2
    nearest = model.features(*tensors(np.zeros((1, 1), np.float32), np.array([[3]]), history))[0, 0, 2]
    assert nearest.item() == pytest.approx(0.8)


def test_ties_go_to_the_lower_row() -> None:
    assert order(np.array([[1.0, 1.0, 2.0]]), np.array([[9, 4, 7]])).tolist() == [[2, 1, 0]]

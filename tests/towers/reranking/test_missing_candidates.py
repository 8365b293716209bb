"""Candidates that a list lacks, where catalogues are small or users have seen nearly everything."""

import numpy as np
import pytest
import torch

from tests.towers.reranking.test_reranker import DIM, LINEAR, reranker
from towers.reranking.candidate_lists import CandidateLists
from towers.reranking.reranker import RECENT
from towers.training.stages.fit_reranker import listwise


def test_a_missing_candidate_does_not_count_in_the_loss() -> None:
    score, hit = torch.tensor([[1.0, 0.0, 9.0]]), torch.tensor([[True, False, False]])
    found = listwise(score, hit, torch.tensor([[False, False, True]]))
    assert found.item() == pytest.approx(np.log(1 + np.exp(-1)))


def test_a_missing_candidate_is_never_the_best_one() -> None:
    """At the endpoint it has the score of the last one; it had 0, which is above the cosines of an unlucky list."""
    scores, rows, nobody = np.array([[-0.1, -0.2]]), np.array([[1, 2]]), np.zeros((1, RECENT))
    users = np.ones((1, DIM))
    model = reranker(LINEAR).eval()
    torch.nn.init.ones_(model.weight)
    alone = CandidateLists.of(users, scores, rows, nobody)
    padded = CandidateLists.of(users, np.append(scores, [[np.nan]], 1), np.append(rows, [[-1]], 1), nobody)
    assert torch.equal(model(padded)[:, :2], model(alone))
    assert CandidateLists.of(users, scores, rows * 0 - 1, nobody).score_BK.tolist() == [[0.0, 0.0]]

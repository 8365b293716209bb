"""A re-ranker carried over to towers that differ by a rotation gives the answers that it gave."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.towers.reranking.test_reranker import DIM, lists, one_hit, reranker
from towers.reranking.carry import alignment, carry_over
from towers.reranking.config import RerankConfig
from towers.reranking.queries import RerankQueries
from towers.training.stages.fit_reranker import fit_reranker


def test_alignment_finds_the_rotation() -> None:
    torch.manual_seed(0)
    before_ID, rotation_DD = torch.randn(50, DIM), torch.linalg.qr(torch.randn(DIM, DIM))[0]
    assert torch.allclose(alignment(before_ID @ rotation_DD.T, before_ID), rotation_DD, atol=1e-5)


@pytest.mark.parametrize("config", [RerankConfig(num_cross=0, hidden_dim=0), RerankConfig(epochs=2)])
def test_the_same_answers_over_rotated_towers(config: RerankConfig) -> None:
    given, source = lists(np.random.default_rng(0)), reranker(config)
    fit_reranker(source, RerankQueries.of_users(given, one_hit(source.popularity_I[given.rows_BK])), seed=0)
    rotation_DD = torch.linalg.qr(torch.randn(DIM, DIM))[0]
    target = reranker(config, source.item_vectors_ID @ rotation_DD, is_carried=True).eval()
    carry_over(source, target, torch.ones(len(source.item_vectors_ID), dtype=torch.bool), {}, {})
    turned = replace(given, user_BD=given.user_BD @ rotation_DD)
    assert target.is_fitted
    assert torch.allclose(target(turned), source(given), atol=1e-4)

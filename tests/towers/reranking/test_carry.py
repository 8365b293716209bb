"""A re-ranker carried over to towers that differ by a rotation gives the answers that it gave."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from data.dataset.vocabulary import Vocabulary
from data.sources.schema import Feature, FeatureKind
from tests.towers.reranking.test_reranker import DIM, lists, one_hit, reranker
from towers.model.features import FeatureEncoder
from towers.model.two_tower import TowerInputs
from towers.reranking.carry import VALUE_TABLE, alignment, carry_over
from towers.reranking.config import RerankConfig
from towers.reranking.queries import RerankQueries
from towers.reranking.reranker import Reranker
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


def with_brands(brands: list[str | None], fitted: list[str], config: RerankConfig, is_carried: bool) -> Reranker:
    """A re-ranker whose items have brands, of which its towers know those in `fitted`."""
    torch.manual_seed(0)
    feature = Feature(name="brand", kind=FeatureKind.categorical)
    encoder = FeatureEncoder((feature,), {"brand": Vocabulary(pa.array(fitted))}, {})
    encoded = encoder.encode(pa.table({"row": np.arange(1, len(brands) + 1), "brand": brands}))
    vectors_ID = torch.randn(len(brands) + 1, DIM)
    side = TowerInputs(encoder, encoded, torch.ones(len(vectors_ID)) > 0)
    return Reranker(config, vectors_ID, np.arange(len(vectors_ID)), side, is_carried=is_carried)


def test_a_value_that_the_source_does_not_know_adds_nothing() -> None:
    brands, config = ["a", "b", "new"], RerankConfig()
    source = with_brands(brands, ["a", "b"], config, is_carried=False)
    target = with_brands(brands, ["a", "b", "new"], config, is_carried=True)
    known = {"brand": Vocabulary(pa.array(["a", "b"]))}, {"brand": Vocabulary(pa.array(["a", "b", "new"]))}
    carry_over(source, target, torch.ones(4, dtype=torch.bool), *known)
    table = target.state_dict()[VALUE_TABLE.format("brand")]
    before = source.state_dict()[VALUE_TABLE.format("brand")]
    assert torch.equal(table[1:3], before[1:3])
    assert not table[3].any()

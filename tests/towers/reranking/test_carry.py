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
from towers.model.numbers.buckets import Buckets
from towers.model.numbers.scale import Scale
from towers.model.two_tower import TowerInputs
from towers.reranking.carry import NUMBERS, VALUE_TABLE, alignment, carry_over
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
    nothing = FeatureEncoder((), {}, {})
    carry_over(source, target, torch.ones(len(source.item_vectors_ID), dtype=torch.bool), nothing, nothing)
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
    known = [FeatureEncoder((), {"brand": Vocabulary(pa.array(of))}, {}) for of in (["a", "b"], ["a", "b", "new"])]
    carry_over(source, target, torch.ones(4, dtype=torch.bool), *known)
    table = target.state_dict()[VALUE_TABLE.format("brand")]
    before = source.state_dict()[VALUE_TABLE.format("brand")]
    assert torch.equal(table[1:3], before[1:3])
    assert not table[3].any()


def with_prices(prices: list[float], fitted: list[float], is_carried: bool) -> tuple[Reranker, FeatureEncoder]:
    """A re-ranker whose items have a price and a size, which its towers have scaled by other items' values."""
    torch.manual_seed(0)
    features = tuple(Feature(name=name, kind=FeatureKind.numeric) for name in ("price", "size"))
    encoder = FeatureEncoder(features, {}, {"price": Scale.of(np.array(fitted)), "size": Scale.of(np.arange(9.0))})
    rows = {"row": np.arange(1, len(prices) + 1), "price": prices, "size": np.arange(float(len(prices)))}
    vectors_ID = torch.randn(len(prices) + 1, DIM)
    side = TowerInputs(encoder, encoder.encode(pa.table(rows)), torch.ones(len(vectors_ID)) > 0)
    return Reranker(RerankConfig(), vectors_ID, np.arange(len(vectors_ID)), side, is_carried=is_carried), encoder


def test_a_number_that_was_constant_before_adds_nothing() -> None:
    """Nothing was learnt of its weights, which are random numbers of the start."""
    source, known = with_prices([5.0, 5.0, 5.0], [5.0, 5.0], is_carried=False)
    target, target_known = with_prices([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], is_carried=True)
    carry_over(source, target, torch.ones(4, dtype=torch.bool), known, target_known)
    before, after = (of.state_dict()[NUMBERS] for of in (source, target))
    assert not after[:, 0].any() and before[:, 0].any()
    assert torch.equal(after[:, 1:], before[:, 1:])


def with_years(years: list[float], edges: tuple[float, ...], is_carried: bool) -> tuple[Reranker, FeatureEncoder]:
    """A re-ranker whose items have a year, which its towers take by buckets with these edges."""
    feature = Feature(name="year", kind=FeatureKind.numeric_quantiles)
    encoder = FeatureEncoder((feature,), {}, {"year": Buckets(edges)})
    encoded = encoder.encode(pa.table({"row": np.arange(1, len(years) + 1), "year": years}))
    vectors_ID = torch.randn(len(years) + 1, DIM)
    side = TowerInputs(encoder, encoded, torch.ones(len(vectors_ID)) > 0)
    return Reranker(RerankConfig(), vectors_ID, np.arange(len(vectors_ID)), side, is_carried=is_carried), encoder


@pytest.mark.parametrize(
    ("edges", "wanted"),
    [((10.0, 15.0, 20.0, 30.0), [0, 1, 2, 2, 3, 3]), ((15.0,), [0, 2, 2]), ((), [0, 1]), ((5.0, 10.0), [0, 1, 1, 2])],
    ids=["more", "fewer", "one bucket", "as many, elsewhere"],
)
def test_other_buckets_of_numbers_take_over_what_those_before_mean(edges: tuple[float, ...], wanted: list[int]) -> None:
    """Buckets follow the items that towers are fitted on: those of a later period have other edges."""
    torch.manual_seed(0)
    source, known = with_years([1.0, 12.0, 25.0], (10.0, 20.0), is_carried=False)
    target, target_known = with_years([1.0, 12.0, 25.0], edges, is_carried=True)
    carry_over(source, target, torch.ones(4, dtype=torch.bool), known, target_known)
    before, after = (of.state_dict()[VALUE_TABLE.format("year")] for of in (source, target))
    assert torch.equal(after[1:], before[wanted[1:]])
    assert not after[0].any()

"""The re-ranker: retrieval order until fitted; fitting finds what matters, products of vectors too, and calibrates."""

import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.nn.functional import normalize

from towers.model.context import Context
from towers.model.features import FeatureEncoder
from towers.model.two_tower import TowerInputs
from towers.reranking.calibration import Calibration, platt
from towers.reranking.candidate_lists import CandidateLists
from towers.reranking.config import RerankConfig
from towers.reranking.cross_network import CrossNetwork
from towers.reranking.queries import RerankQueries
from towers.reranking.reranker import RECENT, SIGNALS, Reranker
from towers.training.epochs.finite import NotFinite
from towers.training.stages.fit_reranker import fit_reranker

ITEMS, DIM, QUERIES, K = 60, 8, 600, 12
LINEAR = RerankConfig(num_cross=0, hidden_dim=0)


def reranker(
    config: RerankConfig = LINEAR,
    vectors: torch.Tensor | None = None,
    context: Context | None = None,
    is_carried: bool = False,
) -> Reranker:
    torch.manual_seed(0)
    if vectors is None:
        vectors = normalize(torch.randn(ITEMS, DIM), dim=1)
    encoder = FeatureEncoder((), {}, {})
    side = TowerInputs(
        encoder, encoder.encode(pa.table({"row": np.arange(1, len(vectors))})), torch.ones(len(vectors)) > 0
    )
    return Reranker(config, vectors, np.arange(len(vectors)), side, context, is_carried=is_carried)


def lists(random: np.random.Generator) -> CandidateLists:
    """Candidates in retrieval order, with scores that say nothing of what hits."""
    rows = np.stack([random.permutation(ITEMS - 1)[:K] + 1 for _ in range(QUERIES)])
    users = random.normal(size=(QUERIES, DIM))
    scores = np.sort(random.random((QUERIES, K)))[:, ::-1]
    users /= np.linalg.norm(users, axis=1, keepdims=True)
    return CandidateLists.of(users, scores, rows, np.zeros((QUERIES, RECENT)))


def one_hit(by_BK: torch.Tensor) -> torch.Tensor:
    """bool [B, K]: in each list the candidate with the highest value hits."""
    return torch.zeros(by_BK.shape, dtype=torch.bool).scatter(1, by_BK.argmax(1, keepdim=True), True)


def fit(model: Reranker, given: CandidateLists, hit_BK: torch.Tensor) -> dict[str, float]:
    return fit_reranker(model, RerankQueries.of_users(given, hit_BK), seed=0)


@pytest.mark.parametrize("config", [LINEAR, RerankConfig()], ids=["linear", "deep"])
def test_unfitted_it_is_the_retrieval_score(config: RerankConfig) -> None:
    given = lists(np.random.default_rng(0))
    assert torch.equal(reranker(config).eval()(given), given.score_BK)


def test_fitting_finds_the_signal_that_matters() -> None:
    given, model = lists(np.random.default_rng(0)), reranker()
    found = fit(model, given, one_hit(model.popularity_I[given.rows_BK]))
    weight = dict(zip(SIGNALS, model.weight.tolist(), strict=True))
    assert found["linear"] > 0.9 > 0.6 > found["retrieval"]
    assert weight["log_popularity"] > 10 * abs(weight["retrieval_score"])


@pytest.mark.slow
def test_the_deep_part_finds_a_product_of_user_and_item() -> None:
    """What hits is where the first entries of both vectors agree most: no linear signal says so."""
    given, model = lists(np.random.default_rng(0)), reranker(RerankConfig(epochs=30, learning_rate=0.005))
    wanted_BK = given.user_BD[:, :1] * model.item_vectors_ID[given.rows_BK][..., 0]
    found = fit(model, given, one_hit(wanted_BK))
    assert found["deep"] > found["linear"] + 0.15


@pytest.mark.parametrize("rate", [1e8, 1e20, 1e30])
def test_a_fit_that_is_not_finite_stops_with_epoch_and_cure(rate: float) -> None:
    given, model = lists(np.random.default_rng(0)), reranker(RerankConfig(epochs=2, learning_rate=rate))
    with pytest.raises(NotFinite) as caught:
        fit(model, given, one_hit(model.popularity_I[given.rows_BK]))
    assert re.match(r"re-ranker, epoch \d, (step \d+: the|the weight|a score) .* finite", str(caught.value))
    assert str(caught.value).endswith(f"try a lower rerank.learning_rate than {rate}")
    assert "\n" not in str(caught.value)


def test_scores_without_an_order_are_never_the_best() -> None:
    """Weights that are finite may give scores that are not."""
    given, model = lists(np.random.default_rng(0)), reranker(RerankConfig(epochs=0))
    with torch.no_grad():
        for weight in model.deep.parameters() if model.deep is not None else ():
            weight.fill_(1e30)
    with pytest.raises(NotFinite, match="a score of the re-ranker on the queries that choose its epoch is not finite"):
        fit(model, given, one_hit(model.popularity_I[given.rows_BK]))


def test_fitting_again_gives_the_same() -> None:
    given = lists(np.random.default_rng(0))
    models = [reranker(RerankConfig(epochs=2)) for _ in range(2)]
    for model in models:
        torch.rand(3)  # whatever else has drawn from the global generator
        fit(model, given, one_hit(model.popularity_I[given.rows_BK]))
    for one, other in zip(*(model.state_dict().values() for model in models), strict=True):
        assert torch.equal(one, other)


def test_without_hits_nothing_changes() -> None:
    given, model = lists(np.random.default_rng(0)), reranker(RerankConfig())
    assert fit(model, given, torch.zeros(given.rows_BK.shape, dtype=torch.bool)) == {}
    assert not model.is_fitted
    assert torch.equal(model.eval()(given), given.score_BK)


@pytest.mark.parametrize("config", [LINEAR, RerankConfig(epochs=1)], ids=["linear", "deep"])
def test_what_orders_worse_than_retrieval_is_not_kept(config: RerankConfig) -> None:
    """The users who are learned from take what retrieval puts last, those who choose the epoch what it puts first."""
    given, model = lists(np.random.default_rng(0)), reranker(config)
    hit_BK = one_hit(-given.score_BK)
    queries = RerankQueries.of_users(given, hit_BK)
    choosing, _, _ = queries.split_users((config.held_out / 2,) * 2, torch.Generator().manual_seed(0))
    hit_BK[choosing] = one_hit(given.score_BK)[choosing]
    found = fit(model, given, hit_BK)
    assert found["retrieval"] == 1 > found.get("deep", found["linear"])
    assert not model.is_fitted and torch.equal(model.eval()(given), given.score_BK)
    assert all(torch.equal(of, reranker(config).state_dict()[name]) for name, of in model.state_dict().items())


def test_log_odds_are_calibrated() -> None:
    """Hits drawn with a probability that depends on popularity: on other draws, predictions say how many hit."""
    random, model = np.random.default_rng(0), reranker()
    given = lists(random)
    probability_BK = torch.sigmoid(2 * model.popularity_I[given.rows_BK] - 1).numpy()
    fit(model, given, torch.from_numpy(random.random(probability_BK.shape) < probability_BK))
    again = random.random(probability_BK.shape) < probability_BK
    predicted = torch.sigmoid(model(given)).detach().numpy()
    assert Calibration.of(predicted.ravel(), again.ravel()).error < 0.05
    assert np.abs(predicted - probability_BK).mean() < 0.05


def test_signals_by_hand() -> None:
    model = reranker(vectors=torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]))
    history = np.array([[0] * (RECENT - 2) + [1, 2]])  # padding, then items 1 and 2
    given = CandidateLists.of(np.zeros((1, 2)), np.array([[0.5, 0.2]]), np.array([[3, -1]]), history)
    found = dict(zip(SIGNALS, model.signals(given)[0, 0].tolist(), strict=True))
    taste = model.popularity_I[1:3].mean().item()
    wanted = (0.5, 0.0, model.popularity_I[3].item(), 0.8, 0.7, 0.8, taste, 2 / RECENT)
    assert found == pytest.approx(dict(zip(SIGNALS, wanted, strict=True)))


def test_without_a_history_its_signals_are_zero() -> None:
    given = lists(np.random.default_rng(0))
    assert (reranker().signals(given)[..., SIGNALS.index("nearest_recent_item") :] == 0).all()


def test_what_a_request_comes_with_counts_by_what_it_tells_of_the_item() -> None:
    """By app the odd items hit, by web the even ones; of a request that does not say, nothing is known."""
    given, model = lists(np.random.default_rng(0)), reranker(context=Context.of_json({"channel": ["app", "web"]}))
    assert model.lift_VI is not None
    odd_I = torch.arange(ITEMS) % 2 == 1
    model.lift_VI[1], model.lift_VI[2] = odd_I.float() - 0.5, 0.5 - odd_I.float()
    came_B1 = torch.arange(QUERIES)[:, None] % 2 + 1
    given = replace(given, context_BC=came_B1)
    assert torch.equal(model.signals(given)[..., -1], model.lift_VI[came_B1, given.rows_BK].float())
    fits_BK = odd_I[given.rows_BK] == (came_B1 == 1)
    found = fit(model, given, one_hit(fits_BK + 0.1 * model.popularity_I[given.rows_BK]))
    assert found["linear"] > 0.9
    silent = replace(given, context_BC=torch.zeros(QUERIES, 0, dtype=torch.int64))
    assert (model.signals(silent)[..., -1] == 0).all()


def test_a_cross_layer_by_hand() -> None:
    """x0 = (1, 2), W = U V = (1, 1)' (3, 1), b = (0, 1): x1 = x0 * (W x0 + b) + x0 = (1 * 5 + 1, 2 * 6 + 2)."""
    cross = CrossNetwork(2, num_layers=1, rank=1)
    with torch.no_grad():
        cross.down[0].weight.copy_(torch.tensor([[3.0, 1.0]]))
        cross.up[0].weight.fill_(1.0)
        cross.up[0].bias.copy_(torch.tensor([0.0, 1.0]))
    assert cross(torch.tensor([1.0, 2.0])).tolist() == [6.0, 14.0]


def test_platt_recovers_slope_and_bias() -> None:
    random = np.random.default_rng(0)
    score = torch.from_numpy(random.normal(size=20_000).astype(np.float32))
    hit = torch.from_numpy(random.random(20_000)) < torch.sigmoid(1.7 * score - 2)
    assert platt(score, hit).tolist() == pytest.approx([1.7, -2], abs=0.1)
    assert platt(score, torch.zeros(20_000, dtype=torch.bool)).tolist() == [1, 0]


def test_platt_of_scores_without_a_most_likely_slope_is_finite_and_positive() -> None:
    hit = torch.arange(200) % 4 == 0
    assert platt(torch.full((200,), 3.0), hit).tolist() == pytest.approx([1, np.log(1 / 3) - 3], abs=1e-4)
    for score in (-hit.float(), hit.float(), 1e-6 * torch.arange(200.0)):
        slope, bias = platt(score, hit)
        assert slope > 0 and torch.isfinite(bias)
        assert (slope * score + bias).sigmoid().mean().item() == pytest.approx(0.25, abs=1e-3)


def test_calibration_error_by_hand() -> None:
    """Ten bins of one: predictions 0, .1 ... .9 against a hit each: mean of 1 - p."""
    found = Calibration.of(np.arange(10) / 10, np.ones(10, dtype=bool))
    assert found.error == pytest.approx(0.55)
    assert found.observed == [1.0] * 10


def popularity(counts: list[int], num_fitted: int | None = None, clips: bool = True) -> list[float]:
    encoder = FeatureEncoder((), {}, {})
    known = torch.ones(len(counts)) > 0
    side = TowerInputs(encoder, encoder.encode(pa.table({"row": np.arange(1, len(counts))})), known)
    made = Reranker(
        LINEAR, torch.randn(len(counts), DIM), np.array(counts), side, num_fitted=num_fitted, clips_popularity=clips
    )
    return made.popularity_I[1:].tolist()


@pytest.mark.parametrize("counts", [[0, 70, 80, 90, 0], [0, 80, 80, 80, 0], [0, 1, 1000, 30, 0]])
def test_an_item_without_interactions_is_as_popular_as_the_least_popular_one(counts: list[int]) -> None:
    """In a log of even popularity a count of 0 would be tens of deviations below all that was fitted."""
    *fitted, new = popularity(counts, num_fitted=3)
    assert new == min(fitted)
    assert max(map(abs, fitted)) < 3
    assert popularity(counts[:-1]) == fitted, "what is added later changes nothing"


def test_earlier_checkpoints_keep_their_popularity() -> None:
    log = np.log1p([0, 70, 80, 90, 0])
    wanted = (log - log[:4].mean()) / (log[:4].std(ddof=1) + 1e-6)
    assert popularity([0, 70, 80, 90, 0], num_fitted=3, clips=False) == pytest.approx(wanted[1:].tolist(), rel=1e-4)

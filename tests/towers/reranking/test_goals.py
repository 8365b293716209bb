"""Several goals of the re-ranker: heads, their fit, and what they are worth, on made-up lists with a known answer."""

import numpy as np
import pytest
import torch
from torch import Tensor

from conf.schema import load
from data.artifacts.errors import ConfigError
from data.sources.event_types import EventType, EventTypes, Sign
from tests.towers.reranking.test_reranker import lists, reranker
from towers.evaluation.goals import GoalEvents, area_under_roc, check_goals
from towers.reranking.config import RerankConfig
from towers.reranking.goal_heads import GoalHeads
from towers.reranking.queries import RerankQueries
from towers.training.epochs.finite import NotFinite
from towers.training.stages.fit_goals import fit_goals, goals_without_events
from towers.training.stages.fit_reranker import GOAL, fit_reranker


def test_value_is_the_sum_of_weight_times_probability() -> None:
    heads = GoalHeads({"click": 1.0, "hide": -4.0}, width=3).eval()
    with torch.no_grad():
        heads.heads_AH[:] = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
        heads.bias_A[:] = torch.tensor([0.5, -1.0])
        heads.calibration_A2[:] = torch.tensor([[1.0, 0.0], [2.0, 0.25]])
        assert heads.of_score_A.tolist() == [1, 0], "what is wanted starts from the re-ranker's own score"
    x_BKW = torch.tensor([[[0.2, -0.3, 0.5], [1.0, 1.0, -0.5]]])
    click = 1 / (1 + np.exp(-np.array([1.2, 1.0])))
    hide = 1 / (1 + np.exp(-(2 * np.array([-1.6, 1.0]) + 0.25)))
    assert heads.value(x_BKW)[0].tolist() == pytest.approx(click - 4 * hide, abs=1e-6)
    asked = heads.value(x_BKW, torch.tensor([[0.0, 3.0]]))
    assert asked[0].tolist() == pytest.approx(3 * hide, abs=1e-6), "the query's own weights"


def test_experts_are_mixed_by_the_gates_of_each_goal() -> None:
    heads = GoalHeads({"a": 1.0, "b": 1.0}, width=2, num_experts=3, hidden_dim=4).eval()
    with torch.no_grad():
        heads.heads_AH.normal_()
        x_BKW = torch.randn(2, 5, 2)
        experts_BKEH = torch.nn.functional.gelu(heads.experts[0](x_BKW)).view(2, 5, 3, 4)  # type: ignore[index]
        gates_BKAE = heads.gates(x_BKW).view(2, 5, 2, 3).softmax(-1)  # type: ignore[misc]
        expected = torch.einsum("bkae,bkeh,ah->bka", gates_BKAE, experts_BKEH, heads.heads_AH) + x_BKW[..., -1:]
        torch.testing.assert_close(heads.uncalibrated(x_BKW), expected)


def two_goals(model_config: RerankConfig) -> tuple[RerankQueries, Tensor]:
    """Users like popular items and hide those that retrieval puts first; nobody ever buys."""
    given, random = lists(np.random.default_rng(0)), torch.Generator().manual_seed(0)
    model = reranker(model_config)
    popularity_BK = model.popularity_I[given.rows_BK]
    draws = torch.rand((2, *given.rows_BK.shape), generator=random)
    like_BK = draws[0] < (2 * popularity_BK - 1).sigmoid()
    hide_BK = draws[1] < (8 * given.score_BK - 6).sigmoid()
    queries = RerankQueries.of_users(given, like_BK)
    goals_BKA = torch.stack([like_BK, hide_BK, torch.zeros_like(like_BK)], dim=-1)
    return RerankQueries(given, queries.hit_BK, queries.taken_BK, queries.user_B, None, goals_BKA), popularity_BK


@pytest.mark.parametrize(
    "config",
    [
        RerankConfig(num_cross=0, hidden_dim=0, epochs=60, learning_rate=0.05, goals={"like": 1, "hide": -3, "buy": 5}),
        RerankConfig(epochs=10, learning_rate=0.01, goals={"like": 1, "hide": -3, "buy": 5}),
        pytest.param(
            RerankConfig(epochs=10, learning_rate=0.01, experts=2, goals={"like": 1, "hide": -3, "buy": 5}),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["linear", "shared bottom", "mixture of experts"],
)
def test_each_goal_is_learned_and_items_come_by_their_value(config: RerankConfig) -> None:
    queries, popularity_BK = two_goals(config)
    model = reranker(config)
    found = fit_reranker(model, queries, seed=0)
    assert found[f"{GOAL}like"] < 0.9 and found[f"{GOAL}hide"] < 0.9, "better than one probability for all"
    assert found[f"{GOAL}buy"] == 1
    assert model.goals is not None and queries.goals_BKA is not None
    probability_BKA = model.goals(model.goal_inputs(queries.lists)).detach()
    for a, at_least in ((0, 0.8), (1, 0.75)):
        auc = area_under_roc(probability_BKA[..., a].numpy().ravel(), queries.goals_BKA[..., a].numpy().ravel())
        assert auc is not None and auc > at_least
        assert probability_BKA[..., a].mean().item() == pytest.approx(
            queries.goals_BKA[..., a].float().mean().item(), abs=0.03
        )
    assert len(probability_BKA[..., 2].unique()) == 1 and probability_BKA[..., 2].max() < 0.001, "nobody buys"
    value_BK = model(queries.lists)
    torch.testing.assert_close(value_BK, probability_BKA @ torch.tensor([1.0, -3.0, 5.0]))
    only_likes_BK = model(queries.lists, torch.tensor([[1.0, 0.0, 0.0]]).expand(len(queries), 3))
    torch.testing.assert_close(only_likes_BK, probability_BKA[..., 0])


def test_goals_leave_the_rest_of_the_reranker_as_it_is() -> None:
    config = RerankConfig(epochs=2, goals={"like": 1, "hide": -3, "buy": 5})
    queries, _ = two_goals(config)
    with_goals, without = reranker(config), reranker(RerankConfig(epochs=2))
    fit_reranker(with_goals, queries, seed=0)
    fit_reranker(without, queries, seed=0)
    kept = {name: of for name, of in with_goals.state_dict().items() if not name.startswith("goals.")}
    assert kept.keys() == without.state_dict().keys()
    assert all(torch.equal(kept[name], of) for name, of in without.state_dict().items())


def test_heads_that_are_not_finite_stop_with_epoch_and_cure() -> None:
    config = RerankConfig(epochs=2, experts=2, goals={"like": 1, "hide": -3, "buy": 5})
    queries, _ = two_goals(config)
    model = reranker(config)
    fit_reranker(model, queries, seed=0)
    parts = [queries[at] for at in queries.split_users((0.3, 0.3), torch.Generator())]
    model.config.learning_rate = 1e30
    with pytest.raises(
        NotFinite, match=r"^re-ranker's goals, epoch 1, .* try a lower rerank\.learning_rate than 1e\+30$"
    ):
        fit_goals(model, parts[2], parts[0], parts[1], 0)


def test_the_same_seed_fits_the_same_heads() -> None:
    config = RerankConfig(epochs=2, experts=2, goals={"like": 1, "hide": -3, "buy": 5})
    queries, _ = two_goals(config)
    models = [reranker(config) for _ in range(2)]
    for model in models:
        fit_reranker(model, queries, seed=3)
    one, other = (model.state_dict() for model in models)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_goal_counts_as_without_events_if_one_part_of_the_users_has_none() -> None:
    queries, _ = two_goals(RerankConfig(goals={"like": 1, "hide": -3, "buy": 5}))
    assert goals_without_events(["like", "hide", "buy"], queries, queries) == ["buy"]
    model = reranker(RerankConfig(epochs=1, goals={"like": 1, "hide": -3, "buy": 5}))
    fit_goals(model, queries, queries, queries, seed=0)
    assert model.goals is not None and model.goals.calibration_A2[2, 0] == 0


def test_a_goal_that_cannot_be_fitted_has_the_share_among_all_and_says_1() -> None:
    """It had the share of the calibrating users, who had no such event, and a line worse than nothing."""
    config = RerankConfig(epochs=1, goals={"like": 1, "hide": -3, "buy": 5})
    queries, _ = two_goals(config)
    assert queries.goals_BKA is not None
    parts = [queries[at] for at in queries.split_users((0.3, 0.3), torch.Generator())]
    assert parts[0].goals_BKA is not None
    parts[0].goals_BKA[..., 2] = parts[0].goals_BKA[..., 0]  # the users who choose the epoch buy what they like
    model = reranker(config)
    found = fit_goals(model, parts[2], parts[0], parts[1], seed=0)
    assert found["buy"] == 1
    assert model.goals is not None
    probability = model.goals(model.goal_inputs(queries.lists))[..., 2].unique()
    there = sum(int((part.lists.rows_BK > 0).sum()) for part in parts)
    bought = int((parts[0].goals_BKA[..., 2] & (parts[0].lists.rows_BK > 0)).sum())
    assert probability.tolist() == pytest.approx([bought / there], rel=0.2), (
        "users count alike, whatever they were shown"
    )


def test_worth_is_summed_over_the_events_that_happened() -> None:
    """User 1 clicked items 3 and 4 and hid 4; user 2 clicked 3."""
    events = GoalEvents({"click": 1, "hide": -5}, (np.array([13, 14, 23]), np.array([14])), num_items=10)
    rows_QK = np.array([[4, 7, 3], [3, -1, -1]])
    among = events.among(np.array([1, 2]), rows_QK)
    assert among.tolist() == [
        [[True, True], [False, False], [True, False]],
        [[True, False], [False, False], [False, False]],
    ]
    values = events.values(np.array([1, 2]), rows_QK, [1, 3, 50])
    assert {k: v.tolist() for k, v in values.items()} == {"value@1": [-4, 1], "value@3": [-3, 1], "value@50": [-3, 1]}


def test_area_under_roc_counts_ties_half() -> None:
    assert area_under_roc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True])) == 7 / 8
    assert area_under_roc(np.array([0.1, 0.4]), np.array([True, True])) is None


def test_goals_that_the_log_does_not_have_are_refused() -> None:
    types = EventTypes({"click": EventType(), "shown": EventType(sign=Sign.ignore)})
    check_goals({"click": 1}, types)
    check_goals({}, EventTypes())
    with pytest.raises(ConfigError, match=r"rerank.goals.buy: .*event types are click"):
        check_goals({"click": 1, "buy": 2}, types)
    with pytest.raises(ConfigError, match=r"rerank.goals.shown"):
        check_goals({"shown": 1}, types)
    with pytest.raises(ConfigError, match=r"rerank.goals: click are event types, and this log has none"):
        check_goals({"click": 1}, EventTypes())


def test_goals_are_named_on_the_command_line() -> None:
    wanted = {"buy": 5.0, "hide": -2.0}
    assert load(["rerank.goals={buy: 5, hide: -2}"]).rerank.goals == wanted
    assert load(["rerank.goals.buy=5", "rerank.goals.hide=-2"]).rerank.goals == wanted


def test_weights_that_order_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"rerank.goals.click: inf must lie in"):
        RerankConfig(goals={"click": float("inf")})
    with pytest.raises(ConfigError, match="all weights are 0"):
        RerankConfig(goals={"click": 0.0})
    with pytest.raises(ConfigError, match=r"rerank.experts: 2 need rerank.goals"):
        RerankConfig(experts=2)

"""Several goals at the endpoint: the weights of a request, of the release where it brings none, and names it lacks."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from serve.api.adapter import FieldError, RequestAdapter
from serve.api.schemas import RecommendRequest
from serve.pipeline.messages import Candidates, Query, UserVector
from serve.pipeline.reranker import RerankStage
from serve.pipeline.source import Source
from serve.releases.release import Release
from towers.reranking.goal_heads import GoalHeads

GOALS = {"click": 1.0, "buy": 5.0, "hide": -2.0}


@pytest.fixture(scope="module")
def with_goals(release: Release) -> Release:
    """The shared release, with heads that nothing was fitted to."""
    model = copy.deepcopy(release.parts.reranker)
    assert model.is_fitted and model.deep is not None
    model.config = replace(model.config, goals=GOALS)
    torch.manual_seed(0)
    model.goals = GoalHeads(GOALS, model.deep.width + 1, hidden_dim=8).eval()
    torch.nn.init.normal_(model.goals.heads_AH)
    return replace(release, parts=replace(release.parts, reranker=model, goal_weights=model.goal_weights))


def asked(release: Release, user_row: int, num: int, goals: tuple[float, ...]) -> tuple[Query, UserVector, Candidates]:
    parts = release.parts
    context = parts.reranker.context.rows({})
    query = Query(release_id=release.id, user_id="u", k=5, num_candidates=num, context=context, goals=goals)
    rows_K = np.random.default_rng(user_row).permutation(np.arange(1, parts.items.table.num_rows + 1))[:num]
    vector_D = parts.item_vectors_ID[user_row].numpy()
    user = UserVector(release.id, vector_D, rows_K[:3])
    return query, user, Candidates(release.id, rows_K, np.linspace(0.9, 0.1, num, dtype=np.float32), Source.towers)


def test_each_query_of_a_batch_has_its_own_weights(with_goals: Release) -> None:
    stage, reranker = RerankStage(with_goals.id, with_goals.parts), with_goals.parts.reranker
    queries = [
        asked(with_goals, 1, 20, ()),
        asked(with_goals, 2, 30, (0.0, 0.0, 1.0)),
        asked(with_goals, 3, 10, (0.0, 0.0, -1.0)),
    ]
    together, alone = stage.rank_all(queries), [stage.rank_all([query])[0] for query in queries]
    for ranked, by_itself in zip(together, alone, strict=True):
        np.testing.assert_allclose(ranked.scores_K, by_itself.scores_K, atol=1e-5)
        assert (np.diff(ranked.scores_K) <= 0).all()
    assert reranker.goal_weights == GOALS
    usual = stage.rank_all([asked(with_goals, 1, 20, tuple(GOALS.values()))])[0]
    assert usual.rows_K.tolist() == alone[0].rows_K.tolist(), "without weights, those of the release"
    assert (together[1].scores_K >= 0).all() and (together[2].scores_K <= 0).all(), "a probability, and minus one"
    opposite = stage.rank_all([asked(with_goals, 2, 30, (0.0, 0.0, -1.0))])[0]
    assert opposite.rows_K.tolist() == alone[1].rows_K.tolist()[::-1]


def test_a_request_names_goals_in_any_order_and_leaves_some_out(with_goals: Release) -> None:
    adapter = RequestAdapter(with_goals, num_candidates=100)
    query, _ = adapter.query(RecommendRequest(user_id="u", goals={"hide": -1, "click": 2.5}))
    assert query.goals == (2.5, 0.0, -1.0)
    assert adapter.query(RecommendRequest(user_id="u"))[0].goals == ()
    assert adapter.live().goals == GOALS


def test_goals_that_a_release_does_not_have_are_refused(release: Release, with_goals: Release) -> None:
    with pytest.raises(FieldError, match=r"goals.share: the goals of release .* are click, buy, hide") as refused:
        RequestAdapter(with_goals, num_candidates=100).query(RecommendRequest(user_id="u", goals={"share": 1}))
    assert refused.value.location == ("goals", "share")
    with pytest.raises(FieldError, match=r"are none, so leave goals out"):
        RequestAdapter(release, num_candidates=100).query(RecommendRequest(user_id="u", goals={"click": 1}))
    assert RequestAdapter(release, num_candidates=100).live().goals == {}


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), 1e7, "1", True])
def test_weights_are_numbers_within_limits(weight: object) -> None:
    with pytest.raises(ValidationError):
        RecommendRequest(user_id="u", goals={"click": weight})

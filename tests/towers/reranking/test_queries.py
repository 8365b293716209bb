"""The queries of the re-ranker: one per user and context; other users decide weights, epoch and level."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from data.dataset.prepared import PreparedDataset
from data.dataset.split import VALIDATION
from tests.towers.reranking.test_reranker import ITEMS, reranker
from towers.evaluation.queries import HeldOut, HeldOutInteractions
from towers.model.context import Context
from towers.reranking.candidate_lists import CandidateLists
from towers.reranking.config import RerankConfig
from towers.reranking.queries import RerankQueries
from towers.reranking.reranker import RECENT
from towers.training.stages.fit_reranker import fit_reranker, listwise

CHANNEL = Context.of_json({"channel": ["app", "web"]})


def lists(rows_QK: list[list[int]]) -> CandidateLists:
    rows = np.array(rows_QK)
    scores = np.tile(np.linspace(1, 0, rows.shape[1]), (len(rows), 1))
    return CandidateLists.of(np.ones((len(rows), 8)), scores, rows, np.zeros((len(rows), RECENT)))


def two_users() -> RerankQueries:
    """User 0 took item 5 by app and item 6 by web; user 1 took item 7, which is no candidate, by web."""
    given = lists([[5, 6, 8], [5, 6, 9]])
    hit_QK = torch.tensor([[True, True, False], [False, False, False]])
    owner, items, context = torch.tensor([0, 0, 1]), torch.tensor([5, 6, 7]), torch.tensor([[1], [2], [2]])
    return RerankQueries.of_interactions(given, hit_QK, owner, items, context)


def test_each_interaction_is_a_query_with_its_own_context_and_item() -> None:
    queries = two_users()
    assert queries.lists.context_BC.tolist() == [[1], [2], [2]]
    assert queries.hit_BK.tolist() == [[True, False, False], [False, True, False], [False, False, False]]
    assert queries.taken_BK.tolist() == [[True, True, False], [True, True, False], [False, False, False]]
    assert queries.user_B.tolist() == [0, 0, 1]


def test_interactions_with_the_same_context_are_one_query_with_several_hits() -> None:
    """One query per interaction gave each of them one hit, and `max_queries` so took a small share of the labels."""
    given = lists([[5, 6, 8], [5, 6, 9]])
    hit_QK = torch.tensor([[True, True, True], [True, False, False]])
    owner, items, context = torch.tensor([0, 1, 0, 0]), torch.tensor([5, 5, 8, 6]), torch.tensor([[1], [2], [2], [1]])
    queries = RerankQueries.of_interactions(given, hit_QK, owner, items, context)
    assert queries.lists.context_BC.tolist() == [[1], [2], [2]]
    assert queries.hit_BK.tolist() == [[True, True, False], [False, False, True], [True, False, False]]
    assert queries.without_other_hits().lists.rows_BK.tolist() == [[5, 6, 0], [0, 0, 8], [5, 6, 9]]
    without = RerankQueries.of_interactions(given, hit_QK, owner, items, torch.zeros((4, 0), dtype=torch.int64))
    assert without.hit_BK.tolist() == hit_QK.tolist(), "without contexts there is one query per user"
    drawn = [RerankQueries.of_interactions(given, hit_QK, owner, items, context, most=2, seed=seed) for seed in (0, 1)]
    assert [len(of) for of in drawn] == [2, 2]
    both = list(zip(queries.user_B.tolist(), queries.lists.context_BC.tolist(), queries.hit_BK.tolist(), strict=True))
    for of in drawn:
        found = zip(of.user_B.tolist(), of.lists.context_BC.tolist(), of.hit_BK.tolist(), strict=True)
        assert all(query in both for query in found), "a sample has whole queries"


def test_what_a_user_took_in_another_context_is_neither_right_nor_wrong() -> None:
    assert two_users().without_other_hits().lists.rows_BK.tolist() == [[5, 0, 8], [0, 6, 8], [5, 6, 9]]


def test_all_users_weigh_the_same() -> None:
    assert two_users().user_weights().tolist() == [0.5, 0.5, 1]


def test_parts_share_no_user() -> None:
    user_B = torch.randint(0, 100, (1000,), generator=torch.Generator().manual_seed(0))
    one = lists([[5, 6]] * 1000)
    queries = RerankQueries(one, torch.zeros(1000, 2) > 0, torch.zeros(1000, 2) > 0, user_B)
    parts = queries.split_users((0.1, 0.3), torch.Generator().manual_seed(1))
    users = [set(user_B[part].tolist()) for part in parts]
    assert [len(of) for of in users] == [10, 30, 60]
    assert sorted(torch.cat(parts).tolist()) == list(range(1000))
    again = queries.split_users((0.1, 0.3), torch.Generator().manual_seed(2))
    assert users[0] != set(user_B[again[0]].tolist()), "the seed decides"


@pytest.mark.parametrize("num_users", [1, 2])
def test_too_few_users_fit_nothing(num_users: int) -> None:
    model, given = reranker(), lists([[5, 6]] * num_users)
    hit_BK = torch.tensor([[True, False]] * num_users)
    assert fit_reranker(model, RerankQueries.of_users(given, hit_BK), seed=0) == {}
    assert not model.is_fitted


def contextual(num_users: int, seed: int) -> RerankQueries:
    """Everybody takes the last odd candidate by app and the last even one by web."""
    random = np.random.default_rng(seed)
    rows_QK = np.stack([random.permutation(ITEMS - 1)[:12] + 1 for _ in range(num_users)])
    taken_Q2 = np.stack([[next(r for r in rows[::-1] if r % 2 == odd) for odd in (1, 0)] for rows in rows_QK])
    hit_QK = torch.from_numpy((rows_QK[:, :, None] == taken_Q2[:, None]).any(2))
    owner_B = torch.arange(num_users).repeat_interleave(2)
    context_BC = torch.tensor([[1], [2]]).repeat(num_users, 1)
    return RerankQueries.of_interactions(
        lists(rows_QK.tolist()), hit_QK, owner_B, torch.from_numpy(taken_Q2.flatten()), context_BC
    )


def test_an_item_is_ranked_by_the_context_in_which_it_was_taken() -> None:
    """Labelled by the context of the user's first interaction, the items of both channels would look alike."""
    model = reranker(context=CHANNEL)
    assert model.lift_VI is not None
    odd_I = torch.arange(ITEMS) % 2 == 1
    model.lift_VI[1], model.lift_VI[2] = odd_I.float() - 0.5, 0.5 - odd_I.float()
    found = fit_reranker(model, contextual(400, seed=0), seed=0)
    assert found["linear"] > found["retrieval"] + 0.15
    new = contextual(50, seed=1)
    best_B = model(new.lists).argmax(1, keepdim=True)
    is_odd_B = odd_I[new.lists.rows_BK.gather(1, best_B)][:, 0]
    assert (is_odd_B == (new.lists.context_BC[:, 0] == 1)).float().mean() > 0.95


def test_the_level_is_that_of_being_taken_at_all() -> None:
    """Two of twelve candidates are taken, in one interaction each: the mean probability is 2/12, not 1/12."""
    model = reranker(context=CHANNEL)
    fit_reranker(model, contextual(400, seed=0), seed=0)
    new = contextual(200, seed=1)
    assert torch.sigmoid(model(new.lists)).mean().item() == pytest.approx(2 / 12, abs=0.02)


def test_calibration_users_choose_neither_weights_nor_epoch() -> None:
    """Other labels of theirs change slope and bias, and nothing else."""
    queries, config = contextual(100, seed=0), RerankConfig(epochs=2)
    _, calibrating, _ = queries.split_users((0.1, 0.1), torch.Generator().manual_seed(0))
    assert len(calibrating) == 20
    taken_BK = queries.taken_BK.clone()
    taken_BK[calibrating] = True
    taken_BK[calibrating[0], 0] = False
    models = [reranker(config, context=CHANNEL) for _ in range(2)]
    for model, given in zip(models, (queries, replace(queries, taken_BK=taken_BK)), strict=True):
        fit_reranker(model, given, seed=0)
    one, other = (model.state_dict() for model in models)
    assert not torch.equal(one.pop("calibration"), other.pop("calibration"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_interactions_of_a_split_are_those_of_its_queries(dataset: PreparedDataset) -> None:
    held_out = HeldOut.of(dataset, VALIDATION)
    found = HeldOutInteractions.of(dataset, VALIDATION, held_out)
    pairs = set(zip(found.query_N.tolist(), found.item_rows_N.tolist(), strict=True))
    assert pairs == set(zip(*(column.tolist() for column in held_out.relevant), strict=True))
    log = dataset.interactions(VALIDATION)
    for number in range(0, len(found.query_N), 11):
        user, item = int(held_out.user_rows_Q[found.query_N[number]]), int(found.item_rows_N[number])
        is_it = (pa.compute.field("user_row") == user) & (pa.compute.field("item_row") == item)
        assert found.context_N[number].as_py() in log.filter(is_it)["context"].to_pylist()


def test_explicit_negatives_count_as_several_candidates() -> None:
    found = lists([[1, 2, 3], [1, 2, -1]])
    hit_QK = torch.tensor([[True, False, False], [False, True, False]])
    unwanted_QK = torch.tensor([[2.0, 1.5, 0.0], [0.0, 0.0, 0.0]])
    none = torch.zeros((3, 0), dtype=torch.int64)
    queries = RerankQueries.of_interactions(
        found, hit_QK, torch.tensor([0, 0, 1]), torch.tensor([1, 3, 2]), none, unwanted_QK
    )
    copies = queries.copies()
    assert copies is not None
    assert copies.tolist() == [[1.0, 2.5, 1.0], [1.0, 1.0, 1.0]], "what was taken counts once"
    score = torch.zeros(1, 3)
    wanted = -torch.log(torch.tensor(1 / (1 + 2.5 + 1)))
    missing = torch.zeros(1, 3, dtype=torch.bool)
    assert listwise(score, hit_QK[:1], missing, copies[:1]).item() == pytest.approx(wanted.item())
    assert RerankQueries.of_users(found, hit_QK).copies() is None

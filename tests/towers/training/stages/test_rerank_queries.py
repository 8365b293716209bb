"""Towers that take the context retrieve in each context of a user, for fitting as at the endpoint."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import torch

from conf.schema import Config
from data.dataset.prepared import PreparedDataset
from data.dataset.split import VALIDATION
from data.sequences.histories import Sequences
from towers.evaluation.queries import HeldOut, HeldOutInteractions
from towers.evaluation.ranking import QueryVectors, Ranking, embed, retrieve
from towers.model.build import build_model, encode_catalogues, interaction_counts
from towers.model.config import FittedSplits
from towers.model.context import Context
from towers.model.two_tower import all_item_vectors
from towers.reranking.config import RerankConfig
from towers.reranking.reranker import Reranker
from towers.training.stages.rerank_queries import in_each_context, queries_to_fit


def test_each_context_of_a_user_is_a_query_with_all_that_the_user_took() -> None:
    """User 3 took items 5 and 6 by app and item 8 by web; user 4 took item 7 by web, twice."""
    seen = Sequences.nothing(9)
    held_out = HeldOut(np.array([3, 4]), (np.array([0, 0, 0, 1]), np.array([5, 6, 8, 7])), seen)
    values = [["app"], ["app"], ["web"], ["web"], ["web"]]
    taken = HeldOutInteractions(np.array([0, 0, 0, 1, 1]), np.array([5, 6, 8, 7, 7]), pa.array(values))
    context_NC = np.array([[1], [1], [2], [2], [2]])
    asked, interactions, user_B = in_each_context(held_out, taken, context_NC, most=9, seed=0)
    assert asked.context_Q is not None
    found = {}
    for b, (row, value) in enumerate(zip(asked.user_rows_Q.tolist(), asked.context_Q.to_pylist(), strict=True)):
        of_query = interactions.item_rows_N[interactions.query_N == b].tolist()
        found[row, *value] = int(user_B[b]), asked.relevant[1][asked.relevant[0] == b].tolist(), of_query
    assert found == {
        (3, "app"): (0, [5, 6, 8], [5, 6]),
        (3, "web"): (0, [5, 6, 8], [8]),
        (4, "web"): (1, [7], [7, 7]),
    }
    few, of_few, users = in_each_context(held_out, taken, context_NC, most=2, seed=0)
    assert len(few.user_rows_Q) == len(users) == 2 and set(of_few.query_N.tolist()) == {0, 1}


def test_the_candidates_are_those_of_the_context_of_the_query(dataset: PreparedDataset, tiny: Config) -> None:
    users, items = encode_catalogues(dataset.users, dataset.items, FittedSplits.train)
    context = Context.of(dataset, ["train"])
    model = build_model(replace(tiny.model, context=True), users, items, 0, context).eval()
    assert model.context_values is not None
    with torch.no_grad():
        model.context_values.weight[1:] *= 20  # as if the context said much
    vectors_ID, counts_I = all_item_vectors(model), interaction_counts(dataset.items, FittedSplits.train)
    reranker, held_out = Reranker(RerankConfig(), vectors_ID, counts_I, items, context), HeldOut.of(dataset, VALIDATION)

    def retrieved(asked: HeldOut) -> tuple[QueryVectors, Ranking]:
        queries = embed(model, asked, batch_size=64)
        return queries, retrieve(queries, asked, counts_I, vectors_ID, batch_size=64)

    of_users = retrieved(held_out)
    found = queries_to_fit(reranker, dataset, VALIDATION, held_out, of_users, retrieved, seed=0)
    rows_B = torch.from_numpy(held_out.user_rows_Q)[found.user_B]
    history_BL = torch.from_numpy(held_out.history.last(rows_B.numpy(), model.config.num_history))
    with torch.inference_mode():
        wanted_BD = model.user_vectors(rows_B, history_BL, found.lists.context_BC)
    torch.testing.assert_close(found.lists.user_BD, wanted_BD)
    scores_BK = (vectors_ID[found.lists.rows_BK] @ wanted_BD[..., None])[..., 0]
    torch.testing.assert_close(found.lists.score_BK, scores_BK)
    assert len(found.user_B.unique()) < len(found), "some users came in several contexts"

    without = queries_to_fit(reranker, dataset, VALIDATION, held_out, of_users, None, seed=0)
    same = {(int(u), *c.tolist()) for u, c in zip(found.user_B, found.lists.context_BC, strict=True)}
    assert same == {(int(u), *c.tolist()) for u, c in zip(without.user_B, without.lists.context_BC, strict=True)}
    assert found.hit_BK.sum() > 0 and (found.taken_BK | ~found.hit_BK).all()

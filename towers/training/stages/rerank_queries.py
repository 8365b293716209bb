"""What the re-ranker is fitted on: the queries of a held-out split, with what the towers retrieve for them.

Where the towers take the context (`model.context`), a user's vector and candidates are others in each context. They are
computed for each context that the user came with, as the endpoint computes them for the context of a request.

Shape legend: Q users, N interactions, B queries (a user in a context), K candidates, C context features.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import torch

from data.dataset.prepared import PreparedDataset
from data.sequences.histories import Sequences
from towers.evaluation.goals import GoalEvents
from towers.evaluation.metrics import hits
from towers.evaluation.queries import HeldOut, HeldOutInteractions, unwanted_among
from towers.evaluation.ranking import QueryVectors, Ranking, lists_of
from towers.reranking.queries import RerankQueries
from towers.reranking.reranker import Reranker

Retrieval = Callable[[HeldOut], tuple[QueryVectors, Ranking]]
"""The vectors of queries by the towers, and the candidates that they retrieve."""


def queries_to_fit(
    reranker: Reranker,
    dataset: PreparedDataset,
    split: str,
    held_out: HeldOut,
    retrieved: tuple[QueryVectors, Ranking],
    by_context: Retrieval | None,
    seed: int,
) -> RerankQueries:
    """The interactions of users whom the towers place, as queries to fit the re-ranker on.

    Args:
        held_out: the queries of the split, one for each user.
        retrieved: of `held_out`.
        by_context: retrieves for users in their contexts; None where the towers take no context.
        seed: draws the sample of `rerank.max_queries`.
    """
    interactions, (queries, found) = HeldOutInteractions.of(dataset, split, held_out), retrieved
    interactions = interactions.take(found.by_towers_Q[interactions.query_N].nonzero()[0])
    user_Q, most = np.arange(len(held_out.user_rows_Q)), reranker.config.max_queries
    if by_context is not None and len(interactions.query_N):
        context_NC = reranker.context.encode(interactions.context_N)
        held_out, interactions, user_Q = in_each_context(held_out, interactions, context_NC, most, seed)
        queries, found = by_context(held_out)
    rows_QK, goals_QKA, unwanted_QK = found.rows_QK, None, None
    if dataset.event_types:
        unwanted_QK = torch.from_numpy(unwanted_among(dataset, split, held_out.user_rows_Q, rows_QK))
    if reranker.goals is not None:
        events = GoalEvents.of(dataset, split, reranker.config.goals, held_out.user_rows_Q)
        goals_QKA = torch.from_numpy(events.among(held_out.user_rows_Q, rows_QK))
    hit_QK = hits(rows_QK, held_out.relevant, len(reranker.item_vectors_ID))
    arrays = (hit_QK, interactions.query_N, interactions.item_rows_N, reranker.context.encode(interactions.context_N))
    hit, owner, items, context = map(torch.from_numpy, arrays)
    lists = lists_of(queries, found, held_out, reranker.context)
    asked = RerankQueries.of_interactions(lists, hit, owner, items, context, unwanted_QK, goals_QKA, most, seed)
    return replace(asked, user_B=torch.from_numpy(user_Q)[asked.user_B])


def in_each_context(
    held_out: HeldOut, interactions: HeldOutInteractions, context_NC: np.ndarray, most: int, seed: int
) -> tuple[HeldOut, HeldOutInteractions, np.ndarray]:
    """Queries of which each is a user in one of the contexts that the user came with, at most so many, drawn at random.

    Args:
        interactions: of `held_out`; at least one.
        context_NC: int64, their contexts as rows (`Context.encode`): the ones that differ in these are different.

    Returns:
        The queries, with all relevant items of their users; their interactions; and int64 [B], the index of the user
        of each query in `held_out`.
    """
    asked_NX = np.column_stack([interactions.query_N, context_NC])
    asked_BX, first_B, query_N = np.unique(asked_NX, axis=0, return_index=True, return_inverse=True)
    drawn_B = np.random.default_rng(seed).permutation(len(asked_BX))[:most]
    place_B = np.full(len(asked_BX), -1)
    place_B[drawn_B] = np.arange(len(drawn_B))
    query_N = place_B[query_N.reshape(-1)]
    kept = replace(interactions.take(np.flatnonzero(query_N >= 0)), query_N=query_N[query_N >= 0])
    user_B, context_B = asked_BX[drawn_B, 0], interactions.context_N.take(pa.array(first_B[drawn_B]))
    of_users = Sequences(np.append(0, np.cumsum(held_out.num_relevant_Q)), held_out.relevant[1])
    relevant = of_users.of_users(user_B)
    asked = HeldOut(held_out.user_rows_Q[user_B], relevant, held_out.seen, context_B, held_out.earlier)
    return asked, kept, user_B

"""Two sets of towers on the same held-out interactions, whatever rows they call users and items by.

Both are asked for the users that both know, with the same histories; what a user has seen is left out, as the endpoint
leaves it out.

Shape legend: Q queries.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from data.dataset.prepared import PreparedDataset
from data.sequences.histories import Sequences
from towers.checkpoint.checkpoint import Checkpoint
from towers.evaluation.config import EvaluateConfig
from towers.evaluation.measure import accuracy, tower_rankings
from towers.evaluation.metrics import coverage, times_shown
from towers.evaluation.queries import HeldOut, queries_of
from towers.evaluation.report import RERANKED
from towers.evaluation.slices import quarters, shares_by_tenth, tenths


@dataclass(frozen=True)
class Answers:
    """What comes of the held-out queries, re-ranked.

    Attributes:
        ndcg_Q: float64.
        coverage: share of the catalogue that is shown to anyone.
        popular_share: of what is shown, from the most popular tenth of the items.
    """

    ndcg_Q: np.ndarray
    coverage: float
    popular_share: float


@dataclass(frozen=True)
class Queries:
    """The test part's queries of a dataset, some of them.

    Attributes:
        least_active_Q: bool, of the quarter of the users with the fewest interactions.
        num_all: how many there were.
    """

    held_out: HeldOut
    least_active_Q: np.ndarray
    num_all: int


def queries(dataset: PreparedDataset, known_to: Checkpoint) -> Queries:
    """Those whose users `known_to` knows as well."""
    held_out = queries_of(dataset)
    activity_Q = quarters(held_out.seen.lengths_U[held_out.user_rows_Q])
    kept = np.flatnonzero(known_to.users.ids.rows(dataset.users.ids.ids(held_out.user_rows_Q)))
    return Queries(_some(held_out, kept), activity_Q[kept] == 1, len(activity_Q))


def in_rows_of(parts: Checkpoint, held_out: HeldOut, dataset: PreparedDataset) -> HeldOut:
    """The same queries as another checkpoint calls their users, all of which it knows, and items.

    Items that it does not know are row 0 among the relevant ones, which nothing finds, and missing from histories.
    """
    users_Q = parts.users.ids.rows(dataset.users.ids.ids(held_out.user_rows_Q))
    item_rows = np.concatenate([[0], parts.items.ids.rows(dataset.items.ids.values)])
    query_N, items_N = held_out.relevant
    owner, seen = held_out.seen.of_users(held_out.user_rows_Q)
    seen, there = item_rows[seen], item_rows[seen] > 0
    pairs = pa.table({"user_row": users_Q[owner][there], "item_row": seen[there]})
    same_context = tuple(parts.reranker.context.vocabularies) == dataset.context
    return HeldOut(
        users_Q,
        (query_N, item_rows[items_N]),
        Sequences.of(pairs, len(parts.users.ids)),
        held_out.context_Q if same_context else None,
    )


def answers(parts: Checkpoint, held_out: HeldOut, config: EvaluateConfig) -> Answers:
    """What towers and re-ranker answer."""
    counts_I, k = parts.counts_I, config.k
    ranking = tower_rankings(parts.model, parts.reranker, held_out, counts_I, config.batch_size)[RERANKED]
    times_I = times_shown(ranking.rows_QK, k, len(counts_I))
    return Answers(
        ndcg_Q=accuracy(ranking, held_out, len(counts_I), [k])[f"ndcg@{k}"],
        coverage=coverage(times_I),
        popular_share=shares_by_tenth(times_I, tenths(counts_I))[-1],
    )


def _some(held_out: HeldOut, kept: np.ndarray) -> HeldOut:
    """Some of the queries, by their index."""
    place = np.full(len(held_out.user_rows_Q), -1)
    place[kept] = np.arange(len(kept))
    query_N, items_N = held_out.relevant
    there = place[query_N] >= 0
    context_Q = None if held_out.context_Q is None else held_out.context_Q.take(pa.array(kept))
    return HeldOut(held_out.user_rows_Q[kept], (place[query_N][there], items_N[there]), held_out.seen, context_Q)

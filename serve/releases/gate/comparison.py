"""Two checkpoints on the same held-out interactions, although each has its own rows for users and items.

Both answer the queries of the users that both know, with the same histories. Items that a user has seen are left out,
as the endpoint leaves them out.

Shape legend: Q queries, N pairs of a query and an item, I items with the padding row 0.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from data.dataset.catalogue import Catalogue
from data.dataset.prepared import PreparedDataset
from data.sequences.histories import TIME, TYPE, Sequences
from towers.checkpoint.checkpoint import Checkpoint
from towers.evaluation.config import EvaluateConfig, SeenItems
from towers.evaluation.measure import accuracy, tower_rankings
from towers.evaluation.metrics import coverage, times_recommended
from towers.evaluation.queries import HeldOut, queries_of
from towers.evaluation.report import RERANKED
from towers.evaluation.slices import deciles, quartiles, shares_by_decile


@dataclass(frozen=True)
class Answers:
    """Measures of the re-ranked answers to held-out queries.

    Attributes:
        ndcg_Q: float64 [Q], nDCG@k of each query.
        coverage: the share of the catalogue that is recommended to anyone.
        popular_share: the share of the recommendations that are among the most popular decile of the items.
    """

    ndcg_Q: np.ndarray
    coverage: float
    popular_share: float


@dataclass(frozen=True)
class SharedQueries:
    """The queries of a dataset's test part whose users both checkpoints know.

    Attributes:
        held_out: the queries, in the rows of the dataset.
        least_active_Q: bool [Q], whether the user is in the quarter with the fewest interactions.
        num_all: the number of queries of the test part, those of other users included.
    """

    held_out: HeldOut
    least_active_Q: np.ndarray
    num_all: int


def queries_for_both(
    dataset: PreparedDataset,
    other: Checkpoint,
    seen_items: SeenItems = SeenItems.mask,
    removed: Collection[str] = (),
) -> SharedQueries:
    """The test queries of a checkpoint's dataset whose users are also known to another checkpoint.

    Args:
        removed: ids of items that are relevant to nobody: whoever removes them on purpose wants to see none of them.
    """
    held_out = queries_of(dataset, seen_items, (TIME, TYPE))
    activity_Q, (query_N, items_N) = quartiles(held_out.history.lengths_of(held_out.user_rows_Q)), held_out.relevant
    if removed:
        stays_N = ~np.isin(items_N, _rows(dataset.items, removed))
        held_out = replace(held_out, relevant=(query_N[stays_N], items_N[stays_N]))
    is_known_Q = other.users.ids.rows(dataset.users.ids.ids(held_out.user_rows_Q)) > 0
    kept = np.flatnonzero(is_known_Q & (held_out.num_relevant_Q > 0))
    return SharedQueries(held_out.take(kept), activity_Q[kept] == 1, len(activity_Q))


def in_rows_of(parts: Checkpoint, held_out: HeldOut, dataset: PreparedDataset) -> HeldOut:
    """The same queries in the user and item rows of another checkpoint, which must know all of their users.

    Items that it does not know become row 0, which no search finds, among the relevant items, and are left out of the
    histories. Event types that it does not know are unknown ones.
    """
    users_Q = parts.users.ids.rows(dataset.users.ids.ids(held_out.user_rows_Q))
    item_rows_I = np.concatenate([[0], parts.items.ids.rows(dataset.items.ids.values)])
    query_N, items_N = held_out.relevant
    names, shift = dataset.event_type_names, parts.model.event_types
    types_T = np.zeros(len(names) + 1, np.int16) if shift is None else shift.rows_of(names)

    def in_other_rows(sequences: Sequences) -> Sequences:
        owner_N, items_N = sequences.of_users(held_out.user_rows_Q)
        items_N = item_rows_I[items_N]
        columns = {"user_row": users_Q[owner_N], "item_row": items_N}
        if sequences.times_N is not None:
            columns[TIME] = sequences.of_users(held_out.user_rows_Q, sequences.times_N)[1]
        if sequences.types_N is not None:
            columns[TYPE] = types_T[sequences.of_users(held_out.user_rows_Q, sequences.types_N)[1]] - 1
        pairs = pa.table(columns).filter(pa.array(items_N > 0))
        return Sequences.of(pairs, len(parts.users.ids), columns.keys() & {TIME, TYPE})

    same_context = tuple(parts.reranker.context.vocabularies) == dataset.context
    return HeldOut(
        users_Q,
        (query_N, item_rows_I[items_N]),
        in_other_rows(held_out.seen),
        held_out.context_Q if same_context else None,
        None if held_out.earlier is None else in_other_rows(held_out.earlier),
    )


def measure_answers(
    parts: Checkpoint, held_out: HeldOut, config: EvaluateConfig, removed: Collection[str] = ()
) -> Answers:
    """Measures what towers and re-ranker of a checkpoint answer to queries in its own rows.

    Args:
        removed: ids of items that are in none of its answers.
    """
    counts_I, k = parts.counts_I, config.k
    left_out = _rows(parts.items, removed) if removed else None
    by = parts.popularity_I, config.batch_size, parts.item_vectors_ID, parts.ties
    rankings = tower_rankings(parts.model, parts.reranker, held_out, *by, left_out)
    ranking = rankings[RERANKED]
    times_I = times_recommended(ranking.rows_QK, k, len(counts_I))
    return Answers(
        ndcg_Q=accuracy(ranking, held_out, len(counts_I), [k])[f"ndcg@{k}"],
        coverage=coverage(times_I),
        popular_share=shares_by_decile(times_I, deciles(counts_I))[-1],
    )


def _rows(items: Catalogue, ids: Collection[str]) -> np.ndarray:
    """int64, the rows of items in a catalogue; 0 for those that it does not know."""
    return items.ids.rows(pa.array(sorted(ids), pa.string())).astype(np.int64)

"""What is popular, by all interactions or by the latest ones: the validation part decides, and all places agree."""

import numpy as np
import pyarrow as pa
import pytest

from data.dataset.catalogue_update import updated
from data.dataset.prepared import PreparedDataset
from data.dataset.split import TRAIN, VALIDATION
from data.sequences.histories import Sequences
from data.sources.schema import RECENT_COUNT
from serve.filters.masks import FilterColumns
from serve.pipeline.fallback import PopularFallback
from towers.checkpoint.checkpoint import Checkpoint, load
from towers.evaluation.decisions.popular_items import BY_ALL, RECENT_SHARE, decide_popular_items
from towers.evaluation.intervals import MIN_USERS
from towers.evaluation.queries import HeldOut
from towers.evaluation.ranking import rank_by_popularity
from towers.evaluation.recent_popularity import recent_counts
from towers.model.tie_order import most_popular, popularity

COUNTS_I = np.array([0, 90, 80, 3, 2, 1])
RECENT_I = np.array([0, 0, 1, 0, 2, 1])


def held_out(items: list[int]) -> HeldOut:
    """A user for each item, who takes it, and has seen nothing before."""
    num = len(items)
    rows_Q = np.arange(1, num + 1, dtype=np.int32)
    return HeldOut(rows_Q, (np.arange(num), np.array(items)), Sequences.nothing(num + 1))


@pytest.mark.parametrize(("taken", "is_recent"), [([4] * 30, True), ([1] * 30, False), ([4, 1] * 15, False)])
def test_the_latest_interactions_win_where_they_are_better_beyond_doubt(taken: list[int], is_recent: bool) -> None:
    found = decide_popular_items(held_out(taken), COUNTS_I, RECENT_I, 2, 16, 200)
    assert found.recent_share == (RECENT_SHARE if is_recent else None)
    assert found.difference[1] <= found.difference[0] <= found.difference[2]
    assert str(found).startswith("by the latest 10% of interactions; " if is_recent else "by all interactions; ")
    assert f"{found.ndcg['latest']:.4f} by the latest 10%" in str(found)


def test_few_users_do_not_decide_what_is_popular_for_all() -> None:
    """One user who took an item of late made the latest interactions the popular ones: an interval of no width."""
    assert decide_popular_items(held_out([4] * MIN_USERS), COUNTS_I, RECENT_I, 2, 16, 200).recent_share == RECENT_SHARE
    for num in (1, MIN_USERS - 1):
        found = decide_popular_items(held_out([4] * num), COUNTS_I, RECENT_I, 2, 16, 200)
        assert found.recent_share is None and f"{num} users, {MIN_USERS} are needed" in str(found)


def test_a_log_without_times_has_no_latest_ones() -> None:
    found = decide_popular_items(held_out([4] * 30), COUNTS_I, None, 2, 16, 200)
    assert found.recent_share is None and "no times" in str(found)
    assert BY_ALL.recent_share is None and BY_ALL.as_json()["recent_share"] is None


def test_all_interactions_decide_among_equally_recent_items() -> None:
    assert most_popular(popularity(COUNTS_I, RECENT_I)).tolist() == [4, 2, 5, 1, 3]
    assert popularity(COUNTS_I) is COUNTS_I


@pytest.mark.parametrize("share", [1e-9, 0.1, 0.5, 1.0])
def test_recent_counts_are_those_of_a_sort(dataset: PreparedDataset, share: float) -> None:
    log = dataset.interactions(TRAIN, VALIDATION)
    times_N, num_items = log["time"].to_numpy(), len(dataset.items.ids)
    first = np.sort(times_N)[-max(round(share * len(times_N)), 1)]
    wanted = np.bincount(log["item_row"].to_numpy()[times_N >= first], minlength=num_items)
    found = recent_counts(dataset, (TRAIN, VALIDATION), share, num_items)
    assert found is not None and found.tolist() == wanted.tolist()


def test_endpoint_evaluation_and_updates_order_by_the_recent_count_of_a_checkpoint(checkpoint: Checkpoint) -> None:
    num_items, items = len(checkpoint.counts_I), checkpoint.items
    recent_I = np.random.default_rng(0).integers(0, 4, num_items - 1)
    recent = items.with_table(items.table.append_column(RECENT_COUNT, pa.array(recent_I)))
    parts = load(checkpoint.folder, checkpoint.manifest, recent)
    wanted = popularity(checkpoint.counts_I, np.append(0, recent_I))
    assert parts.popularity_I.tolist() == wanted.tolist() != checkpoint.popularity_I.tolist()
    assert checkpoint.popularity_I.tolist() == checkpoint.counts_I.tolist()
    fallback = PopularFallback("r", parts, FilterColumns(items.table, items.features))
    answered = fallback.top(50, None, np.zeros(0, np.int64)).rows_K
    nobody = HeldOut(np.array([0], np.int32), (np.zeros(0, np.int64),) * 2, Sequences.nothing(1))
    ranked = rank_by_popularity(nobody, parts.popularity_I, 1, 50, parts.ties)
    assert answered.tolist() == ranked.rows_QK[0].tolist() == most_popular(wanted, parts.ties)[:50].tolist()

    new = items.table.slice(0, 1).set_column(1, "item_id", pa.array(["never seen"]))
    after = updated(recent, new.select(["item_id", "title", *(f.name for f in items.features)])).items
    assert after.table[RECENT_COUNT].to_pylist() == [*recent_I.tolist(), 0]

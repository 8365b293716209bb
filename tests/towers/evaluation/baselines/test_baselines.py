"""Baselines, worked by hand: what is popular, what is popular of late, and one hop over the interactions."""

import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from conf.schema import load
from data.artifacts.folders import Folder
from data.dataset.preparation import prepare
from data.dataset.prepared import PreparedDataset
from data.dataset.split import TEST, TRAIN, VALIDATION
from data.sequences.histories import Sequences
from tests.reporting.skipping import skip
from towers.evaluation.baselines import item_filter as filter_module
from towers.evaluation.baselines.item_filter import item_filter, rank_by_filter
from towers.evaluation.metrics import hits, per_query
from towers.evaluation.queries import HeldOut
from towers.evaluation.ranking import Ranking, rank_by_popularity
from towers.evaluation.recent_popularity import recent_counts
from towers.evaluation.retrieval import mask_seen, top_k


def sequences(*pairs: tuple[int, int], num_users: int) -> Sequences:
    users, items = (np.array(column, dtype=np.int32) for column in zip(*pairs, strict=True))
    return Sequences.of(pa.table({"user_row": users, "item_row": items}), num_users)


PAIRS = [(1, 1), (1, 2), (1, 2), (2, 2), (2, 3)]  # user 1 came back to item 2; nobody chose item 4


def test_filter_weights_by_hand() -> None:
    """A'A by hand: both users have two items; items 1 and 3 have one user, item 2 has both."""
    weights_II, every = item_filter(sequences(*PAIRS, num_users=4), num_items=5)
    assert every == 1
    near = 1 / (2 * 2**0.5)
    similarity = np.array([[1 / 2, near, 0], [near, 1 / 2, near], [0, near, 1 / 2]])
    wanted = similarity * np.array([1, 2**0.25, 1])
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    assert weights_II[1:4, 1:4] == pytest.approx(wanted, abs=1e-6)
    assert not weights_II[[0, 4]].any()
    assert not weights_II[:, [0, 4]].any()


def test_a_neighbours_item_comes_before_popular_ones() -> None:
    held_out = HeldOut(np.array([1, 3], np.int32), (np.array([0, 1]), np.array([3, 1])), sequences(*PAIRS, num_users=4))
    weights_II, _ = item_filter(held_out.seen, num_items=5)
    ranking = rank_by_filter(weights_II, held_out, np.array([0, 1, 2, 1, 9]), batch_size=1)
    assert ranking.rows_QK[:, :2].tolist() == [[3, 4], [4, 2]], "of user 3 nothing is known: popular items"


def test_a_sparse_filter_is_the_dense_one(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    seen = sequences(*zip(random.integers(1, 40, 300), random.integers(1, 30, 300), strict=True), num_users=41)
    held_out = HeldOut(np.arange(1, 41, dtype=np.int32), (np.array([0]), np.array([1])), seen)
    counts_I = np.bincount(seen.items_N, minlength=31)
    dense, _ = item_filter(seen, 31)
    monkeypatch.setattr(filter_module, "DENSE_ITEMS", 0)
    sparse, _ = item_filter(seen, 31)
    assert sparse.toarray() == pytest.approx(dense)
    one, other = (rank_by_filter(weights, held_out, counts_I, batch_size=7) for weights in (dense, sparse))
    assert one.scores_QK == pytest.approx(other.scores_QK, abs=1e-6)


def test_too_many_pairs_are_thinned_by_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filter_module, "MAX_PAIRS", 4)
    seen = sequences((1, 1), (1, 2), (2, 2), (2, 3), num_users=3)  # 8 pairs with themselves
    weights_II, every = item_filter(seen, num_items=5)
    assert every == 2
    assert weights_II[2, 3] > 0, "user 2 is kept"
    assert weights_II[1, 2] == 0, "user 1 is not"


@pytest.mark.parametrize("k", [3, 50])
def test_popularity_is_the_top_k_of_counts(k: int) -> None:
    """Against scoring the whole catalogue, with many ties and users who have seen much of the head."""
    random = np.random.default_rng(1)
    counts_I = random.integers(0, 6, 80)
    counts_I[0] = 0
    pairs = [(u, i) for u in range(1, 12) for i in random.permutation(79)[: 7 * u] + 1]
    held_out = HeldOut(
        np.arange(1, 13, dtype=np.int32), (np.array([0]), np.array([1])), sequences(*pairs, num_users=13)
    )
    found = rank_by_popularity(held_out, counts_I, batch_size=5, k=k)
    scores = mask_seen(torch.from_numpy(counts_I).float().repeat(12, 1), held_out.seen, held_out.user_rows_Q)
    wanted_scores, wanted_rows = top_k(scores, k)[::-1]
    wanted = torch.where(torch.isinf(wanted_scores), -1, wanted_rows).numpy()
    assert (found.rows_QK == wanted).all()


def test_a_robot_among_the_users_does_not_decide_how_much_memory_popularity_takes() -> None:
    """For each user of a batch, as many popular items were looked at as the user with the most has seen."""
    num_users, num_items = 400, 20_000
    of_users = np.random.default_rng(0).integers(1, num_items, 9 * num_users)
    items_N = np.concatenate([of_users, np.arange(1, num_items)]).astype(np.int32)
    offsets_U1 = np.concatenate([[0, 0], 9 * np.arange(1, num_users + 1), [len(items_N)]])
    users_Q = np.arange(1, num_users + 2, dtype=np.int32)
    held_out = HeldOut(users_Q, (np.array([0]), np.array([1])), Sequences(offsets_U1, items_N))
    counts_I = np.arange(num_items)
    tracemalloc.start()
    found = rank_by_popularity(held_out, counts_I, batch_size=512, k=20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < num_users * num_items
    assert (found.rows_QK[-1] == -1).all(), "the robot has seen all"
    for user, rows in zip(users_Q[:-1], found.rows_QK, strict=False):
        seen = set(held_out.seen.of_user(user).tolist())
        assert rows.tolist() == [row for row in range(num_items - 1, 0, -1) if row not in seen][:20]


def test_recent_counts_are_of_the_latest_share(dataset: PreparedDataset) -> None:
    num_items = len(dataset.items.ids)
    interactions = dataset.interactions(TRAIN)
    counts_I = recent_counts(dataset, (TRAIN,), 0.1, num_items)
    assert counts_I is not None
    assert counts_I.sum() == pytest.approx(0.1 * len(interactions), rel=0.02)
    times = np.sort(interactions["time"].to_numpy())
    latest = interactions.filter(pa.compute.field("time") >= int(times[-counts_I.sum()]))
    assert counts_I.tolist() == np.bincount(latest["item_row"].to_numpy(), minlength=num_items).tolist()


@pytest.mark.slow
def test_a_log_without_a_clock_has_no_recent_popularity(ray_session: None, tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text(
        "".join(f"u{u} " + " ".join(f"i{u + n}" for n in range(6)) + "\n" for u in range(9))
    )
    config = load(
        [
            "data=toys",
            f"data.source.train={tmp_path}/log.txt",
            "data.source.item_attributes=null",
            f"storage.root={tmp_path}",
        ]
    )
    prepared = prepare(config.data, Folder.of(str(tmp_path)))
    num_items = len(prepared.items.ids)
    assert recent_counts(prepared, (TRAIN, VALIDATION), 0.1, num_items) is None
    before = PreparedDataset(prepared.folder, {k: v for k, v in prepared.manifest.items() if k != "clock"})
    assert recent_counts(before, (TRAIN, VALIDATION), 0.1, num_items) is None, "by its numbers, as earlier versions did"
    declared = PreparedDataset(
        prepared.folder, prepared.manifest | {"clock": prepared.manifest["clock"] | {"has_clock": True}}
    )
    assert recent_counts(declared, (TRAIN, VALIDATION), 0.1, num_items) is not None, "by what is recorded"


@pytest.mark.slow
def test_the_filter_on_gowalla(ray_session: None, tmp_path: Path) -> None:
    """Better than LightGCN's published .1820 recall@20, without training."""
    config = load(["data=gowalla", f"storage.root={tmp_path}"])
    if not Path(config.data.source.train).exists():
        skip("there are no public data sets", "DATASETS=/where/they/lie make test-slow")
    prepared = prepare(config.data, Folder.of(str(tmp_path)))
    held_out, num_items = HeldOut.of(prepared, TEST), len(prepared.items.ids)
    weights_II, _ = item_filter(held_out.seen, num_items)
    found = rank_by_filter(weights_II, held_out, np.bincount(held_out.seen.items_N, minlength=num_items), 512)
    assert recall(found, held_out, num_items) == pytest.approx(0.1871, abs=5e-4)


def recall(ranking: Ranking, held_out: HeldOut, num_items: int) -> float:
    hit_QK = hits(ranking.rows_QK, held_out.relevant, num_items)
    return float(per_query(hit_QK, held_out.num_relevant_Q, [20])["recall@20"].mean())

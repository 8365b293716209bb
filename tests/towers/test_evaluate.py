"""Evaluation: what is masked, what is relevant, how ties fall, and popularity for those of whom nothing is known."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from data.batches import Sequences
from data.prepared import PreparedDataset
from data.split import TEST, TRAIN, VALIDATION
from towers.checkpoint import Checkpoint
from towers.ranking import HeldOut, rank_by_popularity, retrieve
from towers.report import evaluate, measure, report_of
from towers.retrieval import mask_seen, top_k


def seen(*pairs: tuple[int, int], num_users: int = 4) -> Sequences:
    users, items = (np.array(column, dtype=np.int32) for column in zip(*pairs, strict=True))
    return Sequences.of(pa.table({"user_row": users, "item_row": items}), num_users)


def test_ties_go_to_the_lower_row_even_across_the_boundary() -> None:
    scores = torch.tensor([[0.0, 1.0, 1.0, 1.0, 2.0, 1.0], [5.0, 4.0, 3.0, 2.0, 1.0, 0.0]])
    rows, _ = top_k(scores, 3)
    assert rows.tolist() == [[4, 1, 2], [0, 1, 2]]


def test_top_k_of_random_ties_is_a_stable_sort() -> None:
    scores = torch.randint(0, 5, (50, 200), generator=torch.Generator().manual_seed(0)).float()
    rows, found = top_k(scores, 20)
    wanted, order = scores.sort(dim=1, descending=True, stable=True)
    assert torch.equal(rows, order[:, :20])
    assert torch.equal(found, wanted[:, :20])


def test_seen_items_and_row_0_are_masked() -> None:
    masked = mask_seen(torch.zeros(2, 4), seen((1, 2), (2, 1), (2, 3)), np.array([1, 2]))
    assert torch.isinf(masked).tolist() == [[True, False, True, False], [True, True, False, True]]


def test_popularity_ranks_by_count_without_what_was_seen() -> None:
    held_out = HeldOut(np.array([1, 2], np.int32), (np.array([0, 1]), np.array([3, 2])), seen((1, 1), (2, 3)))
    ranking = rank_by_popularity(held_out, np.array([0, 9, 5, 7]), batch_size=1, k=3)
    assert ranking.rows_QK.tolist() == [[3, 2, -1], [1, 2, -1]]
    values = measure(ranking, held_out, num_items=4, ks=[1])
    assert (values["recall@1"], values["coverage@1"]) == (0.5, pytest.approx(2 / 3))


def test_relevant_are_new_items_of_the_split(dataset: PreparedDataset) -> None:
    held_out = HeldOut.of(dataset, TEST)
    owner, items = held_out.relevant
    for query in range(0, len(held_out.user_rows_Q), 7):
        row = held_out.user_rows_Q[query]
        before = dataset.interactions(TRAIN, VALIDATION).filter(pa.compute.field("user_row") == int(row))["item_row"]
        after = dataset.interactions(TEST).filter(pa.compute.field("user_row") == int(row))["item_row"]
        assert set(items[owner == query].tolist()) == set(after.to_pylist()) - set(before.to_pylist())
        assert held_out.seen.of_user(row).tolist() == before.to_pylist()


def test_unknown_users_get_popular_items(dataset: PreparedDataset, checkpoint: Checkpoint) -> None:
    held_out = HeldOut.of(dataset, TEST)
    found = retrieve(checkpoint.model, held_out, checkpoint.counts_I, checkpoint.reranker.item_ID, batch_size=50)
    popular = rank_by_popularity(held_out, checkpoint.counts_I, batch_size=50)
    unknown = ~found.by_towers_Q
    assert unknown.any(), "the planted log has users who come late"
    assert (found.rows_QK[unknown] == popular.rows_QK[unknown]).all()


def test_evaluating_again_gives_the_same(tiny, dataset: PreparedDataset, checkpoint: Checkpoint) -> None:
    again = evaluate(checkpoint.model, checkpoint.reranker, dataset, checkpoint.counts_I, tiny.evaluate)
    assert again == report_of(checkpoint.manifest)

"""A large catalogue is scored in blocks, and ranked as if all its scores were in memory."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy import sparse

from data.sequences.histories import Sequences
from towers.evaluation.baselines.item_filter import rank_by_filter
from towers.evaluation.queries import HeldOut
from towers.evaluation.ranking import QueryVectors, retrieve
from towers.model.tie_order import TieOrder


def seen_by_twenty(num_items: int, random: np.random.Generator) -> tuple[HeldOut, set[tuple[int, int]]]:
    """A query of each of twenty users, and the pairs of user and item that they have seen."""
    pairs = {
        (int(u), int(i)) for u, i in zip(random.integers(0, 20, 900), random.integers(1, num_items, 900), strict=True)
    }
    users, items = (np.array(column, dtype=np.int32) for column in zip(*sorted(pairs), strict=True))
    log = Sequences.of(pa.table({"user_row": users, "item_row": items}), 20)
    nothing = (np.zeros(0, np.int64), np.zeros(0, np.int64))
    return HeldOut(np.arange(20, dtype=np.int32), nothing, log), pairs


@pytest.mark.parametrize("num_items", [130, 192, 400])
@pytest.mark.parametrize("k", [10, 70])
def test_a_catalogue_scored_in_blocks_is_ranked_as_in_one(
    monkeypatch: pytest.MonkeyPatch, num_items: int, k: int
) -> None:
    """With ties within and across blocks, seen items in each of them, and users whom the towers do not know."""
    random = np.random.default_rng(num_items)
    held_out, pairs = seen_by_twenty(num_items, random)
    vectors = QueryVectors(
        torch.from_numpy(random.integers(0, 2, (20, 8)).astype(np.float32)), torch.arange(20) % 5 > 0
    )
    item_ID = torch.from_numpy(random.integers(0, 2, (num_items, 8)).astype(np.float32))
    counts_I, ties = random.integers(0, 9, num_items), TieOrder.of(num_items, seed=3)
    whole = retrieve(vectors, held_out, counts_I, item_ID, 7, k, ties)
    monkeypatch.setattr("towers.evaluation.ranking.BLOCK_ITEMS", 64)
    in_blocks = retrieve(vectors, held_out, counts_I, item_ID, 7, k, ties)
    assert np.array_equal(in_blocks.rows_QK, whole.rows_QK)
    assert np.array_equal(in_blocks.scores_QK, whole.scores_QK)
    assert not (set(zip(np.repeat(np.arange(20), k).tolist(), whole.rows_QK.ravel().tolist(), strict=True)) & pairs)


@pytest.mark.parametrize("is_dense", [False, True])
def test_the_item_item_filter_ranks_in_blocks_as_in_one(monkeypatch: pytest.MonkeyPatch, is_dense: bool) -> None:
    num_items, random = 400, np.random.default_rng(0)
    held_out, _ = seen_by_twenty(num_items, random)
    dense_II = np.where(random.random((num_items, num_items)) < 0.02, 1, 0).astype(np.float32)  # many ties
    weights_II = dense_II if is_dense else sparse.csr_array(dense_II)
    counts_I, ties = random.integers(0, 9, num_items), TieOrder.of(num_items, seed=3)
    whole = rank_by_filter(weights_II, held_out, counts_I, 7, 70, ties)
    monkeypatch.setattr("towers.evaluation.baselines.item_filter.BLOCK_ITEMS", 64)
    in_blocks = rank_by_filter(weights_II, held_out, counts_I, 7, 70, ties)
    assert np.array_equal(in_blocks.rows_QK, whole.rows_QK)
    assert np.array_equal(in_blocks.scores_QK, whole.scores_QK)

"""A large catalogue is scored in blocks, and ranked as if all its scores were in memory."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from data.sequences.histories import Sequences
from towers.evaluation.queries import HeldOut
from towers.evaluation.ranking import QueryVectors, retrieve
from towers.model.tie_order import TieOrder


@pytest.mark.parametrize("num_items", [130, 192, 400])
@pytest.mark.parametrize("k", [10, 70])
def test_a_catalogue_scored_in_blocks_is_ranked_as_in_one(
    monkeypatch: pytest.MonkeyPatch, num_items: int, k: int
) -> None:
    """With ties within and across blocks, seen items in each of them, and users whom the towers do not know."""
    random = np.random.default_rng(num_items)
    pairs = {
        (int(u), int(i)) for u, i in zip(random.integers(0, 20, 900), random.integers(1, num_items, 900), strict=True)
    }
    users, items = (np.array(column, dtype=np.int32) for column in zip(*sorted(pairs), strict=True))
    log = Sequences.of(pa.table({"user_row": users, "item_row": items}), 20)
    held_out = HeldOut(np.arange(20, dtype=np.int32), (np.zeros(0, np.int64), np.zeros(0, np.int64)), log)
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

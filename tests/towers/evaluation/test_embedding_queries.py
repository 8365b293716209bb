"""User vectors of many queries: embedded by length, returned in the order of the queries."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from data.dataset.vocabulary import Vocabulary
from data.sequences.histories import Sequences
from tests.towers.model.test_two_tower import side
from towers.evaluation.queries import HeldOut
from towers.evaluation.ranking import embed
from towers.model.build import build_model
from towers.model.config import ModelConfig
from towers.model.context import Context
from towers.model.two_tower import TwoTower

LENGTHS = (0, 7, 1, 5, 2, 0, 3, 7)
"""Number of interactions of the user at each row, the unknown one included."""


def queries() -> HeldOut:
    users = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    items = 1 + np.arange(len(users)) * 7 % 20
    log = pa.table({"user_row": pa.array(users, pa.int32()), "item_row": pa.array(items, pa.int32())})
    nothing = (np.zeros(0, np.int64), np.zeros(0, np.int64))
    return HeldOut(np.array([1, 2, 3, 4, 5, 6, 7, 3], np.int32), nothing, Sequences.of(log, len(LENGTHS)))


def model(history: str) -> TwoTower:
    config = ModelConfig(embedding_dim=8, history=history, history_length=6, num_blocks=1, num_heads=2, dropout=0.0)
    return build_model(config, side(len(LENGTHS)), side(21), seed=0)


@pytest.mark.parametrize("history", ["none", "pooled", "transformer"])
def test_queries_keep_their_order_whatever_the_batches_are(history: str) -> None:
    towers, held_out = model(history), queries()
    alone = embed(towers, held_out, 1)
    for size in (2, 3, 8):
        together = embed(towers, held_out, size)
        torch.testing.assert_close(together.user_QD, alone.user_QD, atol=1e-6, rtol=0)
        assert together.known_Q.equal(alone.known_Q)
    torch.testing.assert_close(alone.user_QD[2], alone.user_QD[7])


def test_each_query_comes_with_its_own_context() -> None:
    """Batches are by the length of histories, and contexts must follow the queries into them."""
    context = Context({"channel": Vocabulary(pa.array(["app", "web"]))})
    config = ModelConfig(embedding_dim=8, history_length=6, context=True)
    towers = build_model(config, side(len(LENGTHS)), side(21), seed=0, context=context)
    values = [["app"], ["web"], [None], ["app"], ["web"], ["app"], ["web"], ["other"]]
    held_out = replace(queries(), context_Q=pa.array(values, pa.list_(pa.string())))
    found = embed(towers, held_out, 3).user_QD
    for number in range(len(values)):
        alone = embed(towers, held_out.take(np.array([number])), 1).user_QD
        torch.testing.assert_close(found[number : number + 1], alone, atol=1e-6, rtol=0)
    without = embed(towers, replace(held_out, context_Q=None), 3).user_QD
    torch.testing.assert_close(found[[2, 7]], without[[2, 7]])
    assert not torch.allclose(found[0], without[0])


def test_histories_are_padded_to_the_longest_of_their_batch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    towers, shapes = model("transformer"), list[tuple[int, ...]]()
    vectors = towers.user_vectors

    def noted(rows_B: torch.Tensor, history_BL: torch.Tensor, *others: object) -> torch.Tensor:
        shapes.append(tuple(history_BL.shape))
        return vectors(rows_B, history_BL, *others)

    monkeypatch.setattr(towers, "user_vectors", noted)
    embed(towers, queries(), 4)
    assert shapes == [(4, 3), (4, 6)]

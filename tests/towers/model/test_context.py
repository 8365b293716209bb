"""The context of a request in the user tower: what it changes, what it leaves alone, and that training feeds it."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from data.sequences.batches import ShardBatches
from data.sequences.feedback import Feedback
from data.sequences.histories import HistoryOrder, Sequences
from tests.data.sequences.test_windows import ITEMS as LOG_ITEMS
from tests.data.sequences.test_windows import TABLE, InMemory, batches
from tests.towers.model.test_two_tower import DIM, ITEMS, USERS, side
from towers.evaluation.queries import HeldOut
from towers.evaluation.ranking import embed
from towers.model.build import build_model
from towers.model.config import ModelConfig
from towers.model.context import Context
from towers.model.history.padding import pad
from towers.model.two_tower import TwoTower

CONTEXT = Context.of_json({"channel": ["app", "web"], "daypart": ["evening", "morning"]})


def model(context: bool = True, of: Context | None = CONTEXT, **values: object) -> TwoTower:
    config = ModelConfig(embedding_dim=DIM, dropout=0.0, history_length=4, context=context, **values)  # type: ignore[arg-type]
    return build_model(config, side(USERS), side(ITEMS), seed=0, context=of).eval()


def test_a_context_adds_the_embeddings_of_its_values() -> None:
    towers = model()
    users, history = torch.tensor([1, 1, 1]), pad([[3]] * 3, 4)
    rows = torch.tensor(
        [CONTEXT.rows({"channel": "app"}), CONTEXT.rows({"channel": "app", "daypart": "morning"}), (0, 0)]
    )
    found = towers.user_vectors(users, history, rows)
    assert not torch.allclose(found[0], found[1])
    torch.testing.assert_close(found[2], towers.user_vectors(users[:1], history[:1])[0])
    assert towers.context_values is not None
    plain = towers._user_embedding(users[:1]) + towers.history(*towers._embedded_history(history[:1]))  # type: ignore[misc]
    wanted = torch.nn.functional.normalize(plain + towers.context_values.weight[rows[1]].sum(0), dim=-1)
    torch.testing.assert_close(found[1:2], wanted)


@pytest.mark.parametrize("towers", [model(context=False), model(of=None)], ids=["off", "no context in the log"])
def test_without_it_nothing_changes(towers: TwoTower) -> None:
    assert towers.context_values is None
    assert not [name for name in towers.state_dict() if "context" in name], "checkpoints of before open"
    users, history = torch.tensor([1]), pad([[3]], 4)
    torch.testing.assert_close(
        towers.user_vectors(users, history, torch.tensor([[1, 3]])), towers.user_vectors(users, history)
    )
    same = model().state_dict()
    assert all(torch.equal(same[name], weight) for name, weight in towers.state_dict().items())


def test_a_transformer_takes_the_context_of_what_follows() -> None:
    towers = model(history="transformer", user_ids=False)
    users, history = torch.tensor([1, 2]), pad([[3, 4], [5]], 4)
    contexts = torch.randint(0, 5, (2, 4, 2), generator=torch.Generator().manual_seed(0))
    at_each = towers.user_vectors_at_each_position(users, history, contexts)
    torch.testing.assert_close(at_each[:, -1], towers.user_vectors(users, history, contexts[:, -1]))


def test_some_contexts_are_left_out_in_training() -> None:
    towers = model(context_dropout=0.5, id_dropout=0.0).train()
    users, history = torch.ones(400, dtype=torch.int64), pad([[]] * 400, 4)
    torch.manual_seed(0)
    vectors = towers.user_vectors(users, history, torch.tensor([[1, 3]]).expand(400, -1))
    distinct, counts = vectors.detach().unique(dim=0, return_counts=True)
    assert len(distinct) == 2, "both values are left out together"
    assert 120 < counts.min() < 280


def test_each_positive_comes_with_its_own_context() -> None:
    contexts = np.stack([LOG_ITEMS, LOG_ITEMS + 100], axis=1).astype(np.int16)
    feedback = Feedback(context_NC=contexts)
    for batch in ShardBatches(InMemory(TABLE), Sequences.of(TABLE, 5), 4, 2, HistoryOrder.before, feedback).epoch(0):
        assert batch.context is not None
        assert batch.context.tolist() == [[item, item + 100] for item in batch.item_rows]
    for windows in batches(feedback=feedback).epoch(0):
        there = windows.item_rows > 0
        assert windows.context is not None and windows.context.shape == (*windows.item_rows.shape, 2)
        assert (windows.context[there][:, 0] == windows.item_rows[there]).all()


def test_an_evaluation_asks_with_the_context_of_the_query() -> None:
    towers = model()
    seen = Sequences.of(pa.table({"user_row": [1, 2], "item_row": [3, 4]}), USERS)
    contexts = pa.array([["web", None], ["other", "morning"]], pa.list_(pa.string()))
    held_out = HeldOut(np.array([1, 2], np.int32), (np.array([0, 1]), np.array([5, 5])), seen, contexts)
    found = embed(towers, held_out, batch_size=1).user_QD
    rows = torch.tensor([CONTEXT.rows({"channel": "web"}), CONTEXT.rows({"daypart": "morning"})])
    wanted = towers.user_vectors(torch.tensor([1, 2]), pad([[3], [4]], 4), rows)
    torch.testing.assert_close(found, wanted)

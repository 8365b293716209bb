"""Suggested positives: drawn from the filter's suggestions, as often as said, and counted as they are drawn."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data.sequences.batches import TrainBatch
from data.sequences.histories import Sequences
from tests.data.dataset.test_preparation import prepared, written
from towers.model.config import ModelConfig
from towers.training.config import TrainConfig, check
from towers.training.losses.config import LossConfig
from towers.training.suggested import SuggestedPositives, known_items

USERS, ITEMS = (1, 1, 2, 2, 2, 3), (1, 2, 1, 2, 3, 4)
"""User 1 lacks item 3, which user 2 has beside what user 1 has; user 3 has nothing in common with anybody."""


@pytest.fixture
def sequences() -> Sequences:
    table = pa.table({"user_row": pa.array(USERS, pa.int32()), "item_row": pa.array(ITEMS, pa.int32())})
    return Sequences.of(table, num_users=5)


def test_users_are_suggested_what_others_with_their_items_have(sequences: Sequences) -> None:
    found = SuggestedPositives.of(sequences, num_items=5, share=0.5)
    shares_UK = np.diff(found.cumulative_UK, axis=1, prepend=0)
    assert found.item_rows_UK[1, 0] == 3
    assert shares_UK[1, 0] > 0.99
    assert not found.cumulative_UK[[0, 3, 4]].any(), "nothing is suggested where nothing is known"
    chosen = set(zip(USERS, ITEMS, strict=True))
    drawn = {(u, int(i)) for u in (1, 2) for i, s in zip(found.item_rows_UK[u], shares_UK[u], strict=True) if s > 0}
    assert not drawn & chosen


def test_what_a_user_has_turned_down_is_not_suggested(sequences: Sequences) -> None:
    """A film that a user had rated low was trained as a positive of that user, since it is near to those liked."""
    turned_down = pa.table({"user_row": pa.array([1, 1, 1], pa.int32()), "item_row": pa.array([1, 2, 3], pa.int32())})
    known = Sequences.of(turned_down, num_users=5)
    found = SuggestedPositives.of(sequences, num_items=5, share=0.5, known=known)
    assert not found.cumulative_UK[1].any(), "item 3 was all that the others' items suggest"
    assert SuggestedPositives.of(sequences, num_items=5, share=0.5).cumulative_UK[1].any()


@pytest.mark.slow
def test_what_is_known_of_a_users_mind(ray_session: None, tmp_path: Path) -> None:
    events = ["view", "buy", "hide", "skipped", "owned", "buy", "hide"]
    log = written(tmp_path, user_id=["a"] * 7, item_id=list("tuvwxyz"), time=list(range(7)), event=events)
    types = (
        "data.events={buy: {}, view: {seen: false}, hide: {sign: negative, seen: false},"
        " skipped: {sign: negative, seen: false, towers: false}, owned: {sign: ignore, seen: true}}"
    )
    dataset = prepared(tmp_path, [*log, "data.source.columns.type=event", types])
    known = known_items(dataset, ("train", "validation"))
    assert known is not None
    of_user = known.of_user(dataset.users.ids.row("a"))
    assert sorted(dataset.items.ids.ids(of_user).to_pylist()) == list("tuvx")


def batches(num: int) -> list[TrainBatch]:
    users, items = np.array(USERS, np.int32), np.array(ITEMS, np.int32)
    return [TrainBatch(users, items, np.zeros((len(users), 0), np.int32))] * num


def test_a_share_of_the_positives_makes_way(sequences: Sequences) -> None:
    found = SuggestedPositives.of(sequences, num_items=5, share=0.3)
    drawn = np.stack([b.item_rows for b in found.replace_positives(batches(4000), np.random.default_rng(0))])
    assert (drawn != np.array(ITEMS)).mean(0) == pytest.approx([0.3, 0.3, 0, 0, 0, 0], abs=0.05)
    assert set(drawn[:, :2].ravel()) == {1, 2, 3}, "user 1 has 1 and 2 and is suggested 3; the others nothing"


def test_the_same_seed_draws_the_same(sequences: Sequences) -> None:
    found = SuggestedPositives.of(sequences, num_items=5, share=0.3)
    one, other = (
        [b.item_rows for b in found.replace_positives(batches(20), np.random.default_rng([7, 0]))] for _ in range(2)
    )
    assert np.array_equal(one, other)


def test_histories_in_order_take_no_suggestions() -> None:
    model, loss = ModelConfig(history="transformer"), LossConfig(in_batch=False)
    with pytest.raises(ValueError, match=r"set train\.suggested=0"):
        check(model, loss, TrainConfig(suggested=0.1))

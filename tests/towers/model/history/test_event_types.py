"""Types of events in a history: a purchase says another thing than a click, for all history encoders."""

from dataclasses import replace

import pytest
import torch

from tests.towers.model.test_two_tower import DIM, ITEMS, USERS, side
from towers.model.build import build_model
from towers.model.config import ModelConfig
from towers.model.history.event_types import EventTypeShift
from towers.model.history.moments import Moments
from towers.model.history.padding import pad
from towers.model.two_tower import TwoTower

NAMES = ("click", "purchase", "hide")
USER, HISTORY = torch.tensor([1]), pad([[3, 4, 3]], 4)


def model(history: str, types: bool = True, **values: object) -> TwoTower:
    config = ModelConfig(embedding_dim=DIM, history=history, history_types=types, dropout=0.0, history_length=4)
    return build_model(replace(config, **values), side(USERS), side(ITEMS), seed=0, event_types=NAMES).eval()


def of(*types: int) -> Moments:
    return Moments(types_BL=pad([list(types)], 4))


@pytest.mark.parametrize("history", ["pooled", "transformer"])
def test_types_start_without_effect_and_then_have_one(history: str) -> None:
    towers, without = model(history), model(history, types=False)
    assert without.event_types is None
    assert not any("event_types" in name for name in without.state_dict()), "checkpoints of before open"
    assert all(torch.equal(towers.state_dict()[name], weight) for name, weight in without.state_dict().items())
    plain = without.user_vectors(USER, HISTORY)
    torch.testing.assert_close(towers.user_vectors(USER, HISTORY, None, of(1, 2, 2)), plain)
    assert towers.event_types is not None
    torch.nn.init.normal_(towers.event_types.values.weight[1:], generator=torch.Generator().manual_seed(0))
    changed = towers.user_vectors(USER, HISTORY, None, of(1, 2, 2))
    assert not torch.allclose(changed, plain, atol=1e-3)
    torch.testing.assert_close(towers.user_vectors(USER, HISTORY, None, of(0, 0, 0)), plain), "nothing is known"
    at_padding = Moments(types_BL=torch.tensor([[2, 1, 2, 2]]))
    torch.testing.assert_close(towers.user_vectors(USER, HISTORY, None, at_padding), changed)
    with pytest.raises(ValueError, match="need the event types of histories"):
        towers.user_vectors(USER, HISTORY)


def test_a_type_scales_and_shifts_by_hand() -> None:
    towers = model("pooled", user_ids=True)
    shift = towers.event_types
    assert shift is not None
    with torch.no_grad():
        shift.values.weight[2] = torch.tensor([*[0.5] * DIM, 3.0])  # a purchase weighs 4 times as much
        towers.history.linear.weight.copy_(torch.eye(DIM))  # type: ignore[union-attr]
    items = towers.item_embedding(torch.tensor([3, 4]))
    wanted = towers._user_embedding(USER) + (items[0] + 4 * items[1] + 0.5 + items[0]) / 3
    found = towers.user_vectors(USER, HISTORY, None, of(1, 2, 1))
    torch.testing.assert_close(found, torch.nn.functional.normalize(wanted, dim=1))


@pytest.mark.parametrize("history", ["pooled", "transformer"])
def test_types_are_learned(history: str) -> None:
    towers = model(history).train()
    torch.manual_seed(1)
    (towers.user_vectors(USER, HISTORY, None, of(1, 2, 1)) * torch.randn(DIM)).sum().backward()
    assert towers.event_types is not None
    gradient = towers.event_types.values.weight.grad
    assert gradient is not None and torch.isfinite(gradient).all()
    assert gradient[1].any() and gradient[2].any() and not gradient[3].any()


def test_the_types_of_some_histories_are_left_out_in_training() -> None:
    shift = EventTypeShift(NAMES, DIM, dropout=0.5).train()
    torch.manual_seed(0)
    types, history = torch.full((400, 3), 2), torch.ones(400, 3, dtype=torch.int64)
    found = shift.known(types, history)
    assert set(found.sum(1).tolist()) == {0, 6}, "all of a history or none"
    assert 120 < int((found.sum(1) == 0).sum()) < 280
    assert torch.equal(shift.eval().known(types, history), types)


def test_types_of_another_log_are_found_by_name() -> None:
    shift = EventTypeShift(NAMES, DIM, dropout=0.0)
    assert shift.rows_of(["purchase", "view", "click"]).tolist() == [0, 2, 0, 1]
    assert shift.rows == {"click": 1, "purchase": 2, "hide": 3}

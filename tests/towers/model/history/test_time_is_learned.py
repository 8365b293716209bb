"""Where the time between two items decides what comes next, towers that take times learn it, and others cannot."""

import pytest
import torch
from torch.nn import functional

from tests.towers.model.test_two_tower import ITEMS, USERS, side
from towers.model.build import build_model
from towers.model.config import ModelConfig
from towers.model.history.moments import Moments
from towers.model.history.pooled import PooledHistory
from towers.model.history.time_modes import HistoryTime
from towers.model.two_tower import TwoTower

MINUTES_S, MONTH_S, DAY_S, BATCH = 600, 30 * 86_400, 86_400, 64


def towers_of(history: str, time: HistoryTime, **values: object) -> TwoTower:
    config = ModelConfig(
        embedding_dim=16, history=history, history_time=time, user_ids=False, history_length=2, dropout=0.0,
        id_dropout=0.0, **values,  # type: ignore[arg-type]
    )  # fmt: skip
    return build_model(config, side(USERS), side(ITEMS), seed=0).train()


def scores(towers: TwoTower, history_BL: torch.Tensor, times_BL: torch.Tensor) -> torch.Tensor:
    """Cosines with all items, over a temperature, [B, I]."""
    users = torch.ones(len(history_BL), dtype=torch.int64)
    vectors = towers.user_vectors(users, history_BL, None, Moments(times_BL))
    return vectors @ towers.item_vectors(torch.arange(ITEMS)).T / 0.1


def drawn(random: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two items within minutes: the first follows again. A month apart: the second does."""
    history = torch.randint(1, ITEMS, (BATCH, 2), generator=random)
    is_long = torch.rand(BATCH, generator=random) < 0.5
    latest = torch.randint(10**9, 2 * 10**9, (BATCH,), generator=random)
    gap = torch.where(is_long, MONTH_S, MINUTES_S)
    return history, torch.stack([latest - gap, latest], 1), torch.where(is_long, history[:, 1], history[:, 0])


ROTARY = pytest.param(HistoryTime.rotary, marks=pytest.mark.slow)


@pytest.mark.parametrize("time", [HistoryTime.none, ROTARY, HistoryTime.bias])
def test_a_transformer(time: HistoryTime) -> None:
    towers, random = towers_of("transformer", time), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam([p for p in towers.parameters() if p.requires_grad], lr=0.01)
    towers.item_ids.table.sparse = False
    for _ in range(150):
        history, times, target = drawn(random)
        loss = functional.cross_entropy(scores(towers, history, times), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    history, times, target = drawn(random)
    found = (scores(towers.eval(), history, times).argmax(1) == target).float().mean().item()
    assert found < 0.75 if time is HistoryTime.none else found > 0.9, found


def test_a_half_life() -> None:
    """The latest item follows again, and what was two days before it never does: the half-life shrinks."""
    towers, random = (
        towers_of("pooled", HistoryTime.recency, history_half_life_days=8.0),
        torch.Generator().manual_seed(0),
    )
    encoder = towers.history
    assert isinstance(encoder, PooledHistory) and encoder.half_life_log_1 is not None
    optimizer = torch.optim.Adam([encoder.half_life_log_1], lr=0.05)
    for _ in range(60):
        history = torch.randint(1, ITEMS, (BATCH, 2), generator=random)
        times = torch.tensor([[0, 2 * DAY_S]]).expand(BATCH, -1)
        loss = functional.cross_entropy(scores(towers, history, times), history[:, 1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert encoder.half_life_log_1.item() < -1

"""Row-wise Adam: the rows of a step, and no others; state that survives a restart."""

import pytest
import torch
from torch import nn

from towers.training.optimizer import FINAL_SHARE, Optimizers, RowAdam, linear_decay


def table(values: list[list[float]]) -> nn.Embedding:
    return nn.Embedding.from_pretrained(torch.tensor(values), freeze=False, sparse=True)


def test_one_step_by_hand() -> None:
    """Gradient g of row 1: the step is lr * g / rms(g), since bias correction undoes the first step's decay."""
    ids = table([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    optimizer = RowAdam([ids.weight], lr=0.1)
    (ids(torch.tensor([1])) * torch.tensor([3.0, 1.0])).sum().backward()
    optimizer.step()
    rms = (10 / 2) ** 0.5
    assert ids.weight[1].tolist() == pytest.approx([2 - 0.1 * 3 / rms, 2 - 0.1 / rms], rel=1e-5)


def test_untouched_rows_do_not_move_and_repeated_rows_move_once() -> None:
    ids = table([[1.0], [2.0], [3.0]])
    optimizer = RowAdam([ids.weight], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        ids(torch.tensor([2, 2])).sum().backward()
        optimizer.step()
    assert ids.weight[:2].flatten().tolist() == [1.0, 2.0]
    assert ids.weight[2].item() == pytest.approx(3 - 3 * 0.1, rel=1e-5)


def steps(model: nn.Sequential, optimizers: Optimizers, number: int) -> None:
    for step in range(number):
        optimizers.scale_learning_rate(linear_decay(step / 10))
        optimizers.zero_grad()
        model(torch.tensor([1, step % 3])).square().sum().backward()
        optimizers.step()


def test_state_goes_on_where_it_was() -> None:
    def fresh() -> nn.Sequential:
        torch.manual_seed(0)
        return nn.Sequential(nn.Embedding(4, 3, sparse=True), nn.Linear(3, 2))

    whole = fresh()
    steps(whole, Optimizers(whole, lr=0.1, weight_decay=0.0), 4)
    resumed = fresh()
    before = Optimizers(resumed, lr=0.1, weight_decay=0.0)
    steps(resumed, before, 2)
    after = Optimizers(resumed, lr=0.1, weight_decay=0.0)
    after.load_state(before.state())
    for step in (2, 3):
        after.scale_learning_rate(linear_decay(step / 10))
        after.zero_grad()
        resumed(torch.tensor([1, step % 3])).square().sum().backward()
        after.step()
    for wanted, found in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(wanted, found)


def test_the_linear_schedule_ends_low_but_not_at_zero() -> None:
    assert [linear_decay(done) for done in (0.0, 0.5, 1.0, 1.5)] == [1.0, 0.5, FINAL_SHARE, FINAL_SHARE]


def test_tables_of_feature_values_move_by_their_touched_rows_alone() -> None:
    """Weight decay, which would shrink every row at every step, is for the other weights."""
    torch.manual_seed(0)
    bag, linear = nn.EmbeddingBag(5, 2, mode="mean", padding_idx=0, sparse=True), nn.Linear(2, 1)
    before, weight = bag.weight.detach().clone(), linear.weight.detach().clone()
    model = nn.Sequential(bag, linear)
    optimizers = Optimizers(model, lr=0.1, weight_decay=0.5)
    for _ in range(3):
        optimizers.zero_grad()
        model(torch.tensor([[1, 3], [3, 0]])).sum().backward()
        optimizers.step()
    assert torch.equal(bag.weight[[0, 2, 4]], before[[0, 2, 4]])
    assert not torch.isclose(bag.weight[[1, 3]], before[[1, 3]]).any()
    assert not torch.isclose(linear.weight, weight).any()

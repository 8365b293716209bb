"""Weights of positives, and items that a user does not want, in the losses: worked by hand."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from data.artifacts.errors import ConfigError
from data.sequences.batches import TrainBatch
from tests.towers.model.test_two_tower import ITEMS, model
from tests.towers.training.test_losses import scored
from towers.training.loop import Objective
from towers.training.losses import blockwise
from towers.training.losses.bilateral import bilateral_softmax
from towers.training.losses.bpr import bpr
from towers.training.losses.config import LossConfig
from towers.training.losses.softmax import sampled_softmax

WEIGHTS = torch.tensor([1.0, 3.0])


def test_weighted_softmax_by_hand() -> None:
    query, positive, negative = scored([1.0, 2.0], [[0.0], [0.0]])
    loss = sampled_softmax(query, positive, negative, weight_B=WEIGHTS)
    loss.backward()
    assert loss.item() == pytest.approx((math.log(1 + math.exp(-1)) + 3 * math.log(1 + math.exp(-2))) / 4)
    assert positive.grad is not None
    assert positive.grad.tolist() == pytest.approx([-1 / (1 + math.e) / 4, -3 / (1 + math.e**2) / 4])


def test_weighted_bilateral_softmax_by_hand() -> None:
    query, positive, negative = scored([1.0, 2.0], [[0.0, 0.5], [0.0, -1.0]])
    loss = bilateral_softmax(query, positive, negative, exponent=1.5, weight_B=WEIGHTS)
    loss.backward()
    first, second = 1.5 * math.log(1 + math.exp(0.5)) - 1.0, 1.5 * math.log(1 + math.exp(-1)) - 2.0
    assert loss.item() == pytest.approx((first + 3 * second) / 4)
    assert positive.grad is not None and query.grad is not None
    assert positive.grad.tolist() == pytest.approx([-0.25, -0.75])
    share = 1 / (1 + math.exp(-1))  # of the first negative in the second row
    assert query.grad[1].tolist() == pytest.approx([0.75 * 1.5 * share, 0.75 * 1.5 * (1 - share)])


def test_weighted_bpr_by_hand() -> None:
    positive, negative = torch.tensor([2.0, 0.5]), torch.tensor([1.0, 0.5])
    wanted = (math.log(1 + math.exp(-1)) + 3 * math.log(2)) / 4
    assert bpr(positive, negative, weight_B=WEIGHTS).item() == pytest.approx(wanted)
    alone = bpr(positive, negative, torch.tensor([False, True]), WEIGHTS)
    assert alone.item() == pytest.approx(math.log(1 + math.exp(-1))), "a pair that is excluded has no weight either"


@pytest.mark.parametrize("exponent", [None, 1.3])
def test_a_weight_is_as_many_copies_of_its_row(exponent: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(blockwise.BLOCK, "cpu", 12)  # several blocks
    torch.manual_seed(0)
    query, positive, negative = torch.randn(5, 4), torch.randn(5), torch.randn(6, 4)
    excluded = torch.tensor([[0, 3], [2, 5]])
    copies = torch.tensor([1, 2, 1, 3, 0])

    def loss(query: Tensor, positive: Tensor, excluded: Tensor, weights: Tensor | None) -> Tensor:
        return blockwise.BlockwiseContrast.apply(query, positive, negative, None, excluded, exponent, weights)

    rows = torch.repeat_interleave(torch.arange(5), copies)
    again = torch.tensor([[at, c] for at, row in enumerate(rows) for r, c in excluded.T.tolist() if r == row]).T
    ours, theirs = query.clone().requires_grad_(), query.clone().requires_grad_()
    weighted = loss(ours, positive, excluded, copies.float())
    copied = loss(theirs[rows], positive[rows], again, None)
    assert weighted.item() == pytest.approx(copied.item(), rel=1e-6)
    weighted.backward()
    copied.backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_rows_of_no_weight_alone_are_no_loss() -> None:
    assert sampled_softmax(*scored([1.0], [[0.0]]), weight_B=torch.zeros(1)).item() == 0.0


def batch(**more: np.ndarray) -> TrainBatch:
    users, items = np.array([1, 2], np.int32), np.array([1, 2], np.int32)
    return TrainBatch(users, items, np.zeros((2, 0), np.int32), **more)


def objective(**loss: object) -> Objective:
    config = LossConfig(in_batch=False, num_uniform=3, temperature=0.5, **loss)  # type: ignore[arg-type]
    return Objective(config, np.array([0, *[1] * (ITEMS - 1)]))


def value(of: Objective, given: TrainBatch) -> float:
    towers = model(history="none").eval()
    return of(towers, given, torch.Generator().manual_seed(0), torch.device("cpu")).item()


def test_a_positive_is_compared_with_what_its_user_does_not_want() -> None:
    towers = model(history="none").eval()
    users, items = towers.user_vectors(torch.tensor([1, 2]), torch.zeros(2, 0, dtype=torch.int64)), torch.arange(3 + 1)
    scores = (users @ towers.item_vectors(items).T / 0.5).tolist()
    margin = scores[0][3] - scores[0][1]  # of item 3 over item 1, for user 1; user 2 has no negative
    more = {"negative_rows": np.array([3, 0], np.int32), "negative_weights": np.array([2.0, 0.0], np.float32)}
    added = value(objective(), batch(**more)) - value(objective(), batch())
    assert added == pytest.approx(2.0 * math.log1p(math.exp(margin)) / 2, rel=1e-4)
    weighted = batch(weights=np.array([3.0, 1.0], np.float32))
    with_both = batch(weights=np.array([3.0, 1.0], np.float32), **more)
    added = value(objective(explicit=0.5), with_both) - value(objective(), weighted)
    assert added == pytest.approx(0.5 * 3 * 2.0 * math.log1p(math.exp(margin)) / 4, rel=1e-4)
    assert value(objective(explicit=0.0), with_both) == value(objective(), weighted)
    assert value(objective(weighted=False), weighted) == value(objective(), batch())


def test_an_item_that_is_its_own_negative_adds_nothing() -> None:
    own = batch(negative_rows=np.array([1, 2], np.int32), negative_weights=np.ones(2, np.float32))
    assert value(objective(), own) == pytest.approx(value(objective(), batch()))


def test_a_loss_that_takes_no_weights_is_named() -> None:
    with pytest.raises(ConfigError, match=r"loss\.kind: softmax takes no weights.* set loss\.weighted=false"):
        unweighted = objective()
        unweighted._takes_weights = False
        value(unweighted, batch(weights=np.array([3.0, 1.0], np.float32)))

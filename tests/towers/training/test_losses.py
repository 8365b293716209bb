"""Losses and negatives, worked by hand."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from data.sequences.batches import TrainBatch
from tests.towers.model.test_two_tower import ITEMS, model
from tests.towers.training.test_negatives import mixture
from towers.training.loop import Objective
from towers.training.losses import blockwise
from towers.training.losses.bilateral import bilateral_softmax
from towers.training.losses.blockwise import BlockwiseContrast
from towers.training.losses.bpr import bpr
from towers.training.losses.config import LossConfig
from towers.training.losses.softmax import sampled_softmax
from towers.training.negatives.log_q import log_expected_count
from towers.training.negatives.same_items import same_items


def scored(positive: list[float], negative: list[list[float]]) -> tuple[Tensor, Tensor, Tensor]:
    """Query vectors, positive scores and negative vectors whose dot products are these scores."""
    query = torch.tensor(negative, requires_grad=True)
    return query, torch.tensor(positive, requires_grad=True), torch.eye(len(negative[0]), requires_grad=True)


def written_out(query, positive, negative, log_q=None, excluded=None, exponent=None) -> Tensor:  # type: ignore[no-untyped-def]
    """Both losses as the papers write them, over the whole matrix of scores."""
    scores = query @ negative.T - (0 if log_q is None else log_q)
    if excluded is not None:
        hidden = torch.zeros(scores.shape, dtype=torch.bool)
        hidden[excluded[0], excluded[1]] = True
        scores = scores.masked_fill(hidden, -torch.inf)
    if exponent is not None:
        return (exponent * scores.logsumexp(1) - positive).mean()
    return functional.cross_entropy(
        torch.cat([positive[:, None], scores], 1), torch.zeros(len(query), dtype=torch.int64)
    )


def test_sampled_softmax_by_hand() -> None:
    wanted = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(-2))) / 2
    assert sampled_softmax(*scored([1.0, 2.0], [[0.0], [0.0]])).item() == pytest.approx(wanted)


def test_log_q_lowers_negatives_that_are_drawn_often() -> None:
    q = torch.tensor([2.0, 1.0]).log()
    # the positive counts as exp(0), the negatives as exp(0) / 2 and exp(0) / 1
    assert sampled_softmax(*scored([0.0], [[0.0, 0.0]]), q).item() == pytest.approx(-math.log(1 / 2.5))


def test_bilateral_softmax_by_hand() -> None:
    first = 1.5 * math.log(1 + math.exp(0.5)) - 1.0
    second = 1.5 * math.log(1 + math.exp(-1)) - 2.0
    found = bilateral_softmax(*scored([1.0, 2.0], [[0.0, 0.5], [0.0, -1.0]]), exponent=1.5)
    assert found.item() == pytest.approx((first + second) / 2)


def test_bpr_by_hand() -> None:
    positive = torch.tensor([2.0, 0.5], requires_grad=True)
    loss = bpr(positive, torch.tensor([1.0, 0.5]), torch.tensor([False, True]))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1))), "the mean leaves an item against itself out"
    assert positive.grad is not None
    assert positive.grad.tolist() == pytest.approx([-1 / (1 + math.e), 0.0])
    assert bpr(positive, positive.detach(), torch.tensor([True, True])).item() == 0.0


def test_an_accidental_hit_gets_exactly_no_gradient() -> None:
    query, positive, negative = scored([0.0], [[0.0, 0.0, 3.0]])
    q = torch.tensor([2.0, 1.0, 1.0]).log()
    loss = bilateral_softmax(query, positive, negative, 1.0, q, torch.tensor([[0], [2]]))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(1 / 2 + 1))
    assert query.grad is not None and positive.grad is not None and negative.grad is not None
    assert query.grad[0].tolist() == pytest.approx([1 / 3, 2 / 3, 0.0])  # the negatives are the axes
    assert positive.grad.tolist() == [-1.0]
    assert negative.grad[2].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("exponent", [None, 1.3])
@pytest.mark.parametrize(("num_queries", "num_negatives"), [(1, 1), (7, 5), (40, 3), (3, 700)])
def test_the_blockwise_losses_are_those_written_out(
    num_queries: int, num_negatives: int, exponent: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(blockwise.BLOCK, "cpu", 16)  # several blocks, the last one smaller
    random = torch.Generator().manual_seed(0)
    drawn = [torch.randn(shape, generator=random) for shape in ((num_queries, 4), (num_queries,), (num_negatives, 4))]
    log_q = torch.randn(num_negatives, generator=random)
    row = torch.arange(1, num_queries, 2)
    excluded = torch.stack([row, row % num_negatives]) if num_negatives > 1 else None
    found, wanted = ([d.clone().requires_grad_() for d in drawn] for _ in range(2))
    loss = (
        sampled_softmax(*found, log_q, excluded)
        if exponent is None
        else bilateral_softmax(*found, exponent, log_q, excluded)
    )
    reference = written_out(*wanted, log_q, excluded, exponent)
    (2 * loss).backward()
    (2 * reference).backward()
    assert loss.item() == pytest.approx(reference.item(), abs=1e-5)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("exponent", [None, 1.5])
def test_without_a_negative_that_counts_nothing_moves(exponent: float | None) -> None:
    leaves = scored([0.5], [[1.0]])
    loss = BlockwiseContrast.apply(*leaves, None, torch.tensor([[0], [0]]), exponent)
    loss.backward()
    assert loss.item() == 0.0
    assert all(leaf.grad is not None and not leaf.grad.any() for leaf in leaves)


@pytest.mark.parametrize("exponent", [None, 1.5])
def test_the_mean_is_over_the_positives_that_have_a_negative(exponent: float | None) -> None:
    """The second query has no negative: loss and gradients are those of the other two alone."""
    random = torch.Generator().manual_seed(0)
    drawn = [torch.randn(shape, generator=random) for shape in ((3, 4), (3,), (2, 4))]
    kept = torch.tensor([0, 2])
    leaves, alone = ([d.clone().requires_grad_() for d in drawn] for _ in range(2))
    loss = BlockwiseContrast.apply(*leaves, None, torch.tensor([[0, 1, 1], [1, 0, 1]]), exponent)
    wanted = BlockwiseContrast.apply(
        alone[0][kept], alone[1][kept], alone[2], None, torch.tensor([[0], [1]]), exponent
    )  # fmt: skip
    loss.backward()
    wanted.backward()
    assert loss.item() == pytest.approx(wanted.item())
    for ours, theirs in zip(leaves, alone, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_scores_that_overflow_are_not_taken_for_missing_negatives() -> None:
    """Only excluded pairs are missing: numbers that are not finite must show in the loss, or they would go unseen."""
    query, positive, negative = scored([0.0], [[-math.inf, math.nan]])
    assert not math.isfinite(sampled_softmax(query, positive, negative).item())
    query, positive, negative = torch.full((1, 1), -math.inf), torch.zeros(1), torch.ones(1, 1)
    assert not math.isfinite(bilateral_softmax(query, positive, negative, 1.5).item())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("items", [[4], [4, 4, 4]], ids=["a batch of one", "a batch of one item"])
@pytest.mark.parametrize("num_uniform", [0, 2])
@pytest.mark.parametrize("kind", ["softmax", "bilateral", "bpr"])
def test_a_batch_without_negatives_has_a_finite_loss(kind: str, num_uniform: int, items: list[int]) -> None:
    """With num_uniform=2 the only item that can be drawn is the positive itself."""
    counts_I = np.eye(ITEMS, dtype=np.int64)[4]
    towers, users = model(), np.arange(1, len(items) + 1, dtype=np.int32)
    batch = TrainBatch(users, np.array(items, np.int32), np.zeros((len(items), 4), np.int32))
    objective = Objective(LossConfig(kind=kind, num_uniform=num_uniform), counts_I)
    loss = objective(towers, batch, torch.Generator().manual_seed(0), torch.device("cpu"))
    loss.backward()
    assert loss.item() == 0.0
    assert not any(p.grad.to_dense().any() for p in towers.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    ("in_batch", "num_uniform", "num_popular"),
    [
        pytest.param(256, 0, 0, marks=pytest.mark.slow),
        pytest.param(32, 64, 0, marks=pytest.mark.slow),
        (1, 64, 0),
        (32, 32, 64),
    ],
)
def test_with_log_q_the_best_scores_are_those_of_the_full_softmax(
    in_batch: int, num_uniform: int, num_popular: int
) -> None:
    """On a skewed catalogue, free logits end at log popularity plus a constant, whatever the mix of negatives."""
    random, share = np.random.default_rng(0), np.array([0.5, 0.25, 0.15, 0.1])
    counts = np.concatenate([[0], 1000 * share])
    log_q_I = log_expected_count(counts, in_batch - 1, mixture(counts, num_uniform, num_popular))
    logits_I = torch.zeros(5, requires_grad=True)
    optimizer = torch.optim.Adam([logits_I], lr=0.02)
    for step in range(800):
        optimizer.param_groups[0]["lr"] = 0.02 * (1 - step / 800)
        items = torch.from_numpy(random.choice(np.arange(1, 5), size=in_batch, p=share))
        drawn = (random.integers(1, 5, num_uniform), random.choice(np.arange(1, 5), size=num_popular, p=share))
        candidates = torch.cat([items, *map(torch.from_numpy, drawn)])
        one = torch.ones(in_batch, 1)  # a query vector of 1 makes an item's vector its score
        loss = sampled_softmax(
            one, logits_I[items], logits_I[candidates, None], log_q_I[candidates], same_items(items, candidates)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = functional.softmax(logits_I[1:].detach(), dim=0).numpy()
    assert np.abs(found - share).max() < 0.03


@pytest.mark.parametrize(
    "values",
    [
        {"temperature": 0},
        {"num_uniform": -1},
        {"num_uniform": 0, "in_batch": False},
        {"full": True, "kind": "bpr"},
    ],
)
def test_nonsense_is_refused(values: dict) -> None:
    with pytest.raises(ValueError, match="loss"):
        LossConfig(**values)

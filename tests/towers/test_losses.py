"""Losses and negatives, worked by hand."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from towers.losses import LossConfig, bilateral_softmax, sampled_softmax
from towers.negatives import accidental_hits, draw_uniform, log_expected_count


def test_sampled_softmax_by_hand() -> None:
    logits = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    wanted = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(-2))) / 2
    assert sampled_softmax(logits, torch.tensor([0, 1])).item() == pytest.approx(wanted)


def test_log_q_lowers_negatives_that_are_drawn_often() -> None:
    logits = torch.zeros(1, 3)
    q = torch.tensor([0.5, 2.0, 1.0]).log()
    # the positive counts as exp(0), the negatives as exp(0) / 2 and exp(0) / 1
    assert sampled_softmax(logits, torch.tensor([0]), q).item() == pytest.approx(-math.log(1 / 2.5))


def test_bilateral_softmax_by_hand() -> None:
    logits = torch.tensor([[1.0, 0.0, 0.5], [0.0, 2.0, -1.0]])
    first = 1.5 * math.log(1 + math.exp(0.5)) - 1.0
    second = 1.5 * math.log(1 + math.exp(-1)) - 2.0
    found = bilateral_softmax(logits, torch.tensor([0, 1]), exponent=1.5)
    assert found.item() == pytest.approx((first + second) / 2)


def test_bilateral_softmax_weights_negatives_and_leaves_hits_out() -> None:
    logits = torch.zeros(1, 4, requires_grad=True)
    q = torch.tensor([9.0, 2.0, 1.0, 1.0]).log()
    excluded = torch.tensor([[False, False, False, True]])
    loss = bilateral_softmax(logits, torch.tensor([0]), 1.0, q, excluded)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(1 / 2 + 1))
    assert logits.grad is not None
    assert logits.grad[0].tolist() == pytest.approx([-1.0, 1 / 3, 2 / 3, 0.0])
    assert logits.grad[0, 3].item() == 0.0


def test_an_accidental_hit_gets_exactly_no_gradient() -> None:
    logits = torch.tensor([[1.0, 3.0, 0.5]], requires_grad=True)
    excluded = torch.tensor([[False, True, False]])
    sampled_softmax(logits, torch.tensor([0]), excluded_BC=excluded).backward()
    assert logits.grad is not None
    assert logits.grad[0, 1].item() == 0.0
    assert logits.grad[0, 2].item() > 0


def test_accidental_hits_spare_the_own_column() -> None:
    positives = torch.tensor([7, 8, 7])
    candidates = torch.tensor([7, 8, 7, 8, 9])
    hits = accidental_hits(positives, candidates, torch.tensor([0, 1, 2]))
    assert hits.int().tolist() == [[0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [1, 0, 0, 0, 0]]


def test_expected_counts_are_those_of_the_mixture() -> None:
    counts = np.array([0, 6, 2])  # row 0 is unknown
    found = log_expected_count(counts, in_batch=4, num_uniform=10).exp()
    assert found[1:].tolist() == pytest.approx([4 * 6 / 8 + 10 / 2, 4 * 2 / 8 + 10 / 2])


def test_uniform_draws_never_give_the_unknown_row() -> None:
    rows = draw_uniform(5, 1000, torch.Generator().manual_seed(0))
    assert set(rows.tolist()) == {1, 2, 3, 4}


@pytest.mark.parametrize(("in_batch", "num_uniform"), [(256, 0), (32, 64), (1, 64)])
def test_with_log_q_the_best_scores_are_those_of_the_full_softmax(in_batch: int, num_uniform: int) -> None:
    """On a skewed catalogue, free logits end at log popularity plus a constant, whatever the mix of negatives."""
    random, share = np.random.default_rng(0), np.array([0.5, 0.25, 0.15, 0.1])
    counts = np.concatenate([[0], 1000 * share])
    log_q_I = log_expected_count(counts, in_batch - 1, num_uniform)
    logits_I = torch.zeros(5, requires_grad=True)
    optimizer = torch.optim.Adam([logits_I], lr=0.02)
    for step in range(800):
        optimizer.param_groups[0]["lr"] = 0.02 * (1 - step / 800)
        items = torch.from_numpy(random.choice(np.arange(1, 5), size=in_batch, p=share))
        candidates = torch.cat([items, torch.from_numpy(random.integers(1, 5, num_uniform))])
        own = torch.arange(in_batch)
        excluded = accidental_hits(items, candidates, own)
        loss = sampled_softmax(logits_I[candidates].expand(in_batch, -1), own, log_q_I[candidates], excluded)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = functional.softmax(logits_I[1:].detach(), dim=0).numpy()
    assert np.abs(found - share).max() < 0.03


@pytest.mark.parametrize("values", [{"temperature": 0}, {"num_uniform": -1}, {"num_uniform": 0, "in_batch": False}])
def test_nonsense_is_refused(values: dict) -> None:
    with pytest.raises(ValueError, match="loss"):
        LossConfig(**values)

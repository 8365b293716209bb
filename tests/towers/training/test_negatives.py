"""Negatives: who is drawn, how often, and which of them do not count."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data.sequences.batches import TrainBatch
from data.sequences.ragged import Ragged
from tests.towers.model.test_two_tower import ITEMS, model
from towers.training.loop import Objective, user_vectors_and_positives
from towers.training.losses.config import LossConfig, SeenNegatives
from towers.training.negatives import NegativeSampler
from towers.training.negatives.log_q import log_expected_count
from towers.training.negatives.popular import PopularSampler
from towers.training.negatives.same_items import LAST_BITS, OwnItems, same_items
from towers.training.negatives.uniform import UniformSampler


def mixture(counts_I: np.ndarray, num_uniform: int, num_popular: int) -> list[tuple[NegativeSampler, int]]:
    return [(UniformSampler(counts_I), num_uniform), (PopularSampler(counts_I), num_popular)]


def test_full_candidates_and_uniform_negatives_are_items_with_training_data() -> None:
    """Items 2 and 3 have no interactions: as negatives they would only push what they share with other new items."""
    counts_I = np.array([0, 5, 0, 0, 1, 1])
    sampler = UniformSampler(counts_I)
    assert set(sampler.draw(1000, torch.Generator().manual_seed(0)).tolist()) == {1, 4, 5}
    assert sampler.expected_counts(6).tolist() == [0, 2, 0, 0, 2, 2]
    log_q_I = log_expected_count(counts_I, num_in_batch=0, drawn=[(sampler, 6)])
    assert log_q_I[[1, 4, 5]].exp().tolist() == pytest.approx([2, 2, 2])
    objective = Objective(LossConfig(full=True), counts_I)
    assert objective._draw(torch.Generator(), 3).tolist() == [1, 4, 5]


def test_where_all_items_have_training_data_uniform_draws_are_those_of_any_item() -> None:
    drawn = UniformSampler(np.minimum(np.arange(50), 1)).draw(99, torch.Generator().manual_seed(5))
    assert torch.equal(drawn, torch.randint(1, 50, (99,), generator=torch.Generator().manual_seed(5)))


def test_rare_items_can_be_drawn_however_many_interactions_there_are() -> None:
    """Of 2**26 interactions, a float32 reaches every fourth place only: never an item of three that begins after it."""
    pairs = 1 << 16
    counts_I = np.concatenate([[0, (1 << 26) - 4 * pairs], np.tile([3, 1], pairs)])
    rows = PopularSampler(counts_I).draw(50_000, torch.Generator().manual_seed(0))
    of_pairs = rows[rows > 1]
    assert len(of_pairs) > 100
    assert (of_pairs % 2 == 0).float().mean().item() == pytest.approx(0.75, abs=0.1)


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=12),
    st.lists(st.integers(1, 6), max_size=12),
)
def test_same_items_are_all_pairs_of_one_item(positives: list[int], candidates: list[int]) -> None:
    pairs = same_items(torch.tensor(positives), torch.tensor(candidates, dtype=torch.int64))
    wanted = [(b, c) for b, item in enumerate(positives) for c, other in enumerate(candidates) if item == other]
    assert [tuple(pair) for pair in pairs.T.tolist()] == wanted


ROWS = st.integers(1, 6) | st.integers(1 + (LAST_BITS + 1), 6 + (LAST_BITS + 1))
"""Item rows, of which some differ in their first bits alone."""


@given(st.lists(st.lists(ROWS, max_size=5), min_size=1, max_size=6), st.lists(ROWS, max_size=12), st.data())
def test_own_items_are_all_pairs_of_a_positive_and_an_item_of_its_user(
    users: list[list[int]], candidates: list[int], drawn: st.DataObject
) -> None:
    """Positives are a user's own items too, such as suggested ones, which are not among the user's interactions."""
    rows = sorted(drawn.draw(st.lists(st.integers(0, len(users) - 1), min_size=1, max_size=8)))
    positives = drawn.draw(st.lists(ROWS, min_size=len(rows), max_size=len(rows)))
    own = [set(users[row]) | {p for r, p in zip(rows, positives, strict=True) if r == row} for row in rows]
    row_K = [row for row, items in enumerate(users) for _ in items] + rows
    items_K = [item for items in users for item in items] + positives
    found = OwnItems(torch.tensor(row_K), torch.tensor(items_K), torch.tensor(rows))
    pairs = found.among(torch.tensor(candidates, dtype=torch.int64))
    wanted = [(b, c) for b, items in enumerate(own) for c, item in enumerate(candidates) if item in items]
    assert [tuple(pair) for pair in pairs.T.tolist()] == wanted
    asked = torch.tensor([1 + b % 6 for b in range(len(rows))])
    assert found.have(asked).tolist() == [1 + b % 6 in items for b, items in enumerate(own)]


def loss_of(config: LossConfig, counts_I: np.ndarray, is_window: bool) -> tuple[float, list[list[float]]]:
    """The loss of a user who has the items 1, 2, 3, 4 and 6, and the scores of all items for each positive."""
    towers, history = model(history="transformer" if is_window else "pooled").eval(), np.array([[0, 1, 2, 3]], np.int32)
    positives, user = np.array([[0, 2, 3, 4]] if is_window else [4], np.int32), np.array([1], np.int32)
    own = Ragged(np.array([1, 2, 3, 4, 6, 2], np.int32), np.array([6]))
    batch = TrainBatch(user, positives, history, own_items=own)
    found = Objective(config, counts_I)(towers, batch, torch.Generator().manual_seed(0), torch.device("cpu"))
    query_bD, _ = user_vectors_and_positives(towers, batch, torch.device("cpu"))
    scores_bI = query_bD @ towers.item_vectors(torch.arange(ITEMS)).T / config.temperature
    return found.item(), scores_bI.tolist()


@pytest.mark.parametrize(("is_window", "positives"), [(False, [4]), (True, [2, 3, 4])])
def test_with_seen_mask_only_what_the_user_does_not_have_is_a_negative(is_window: bool, positives: list[int]) -> None:
    """Of the items 1 to 6 that is item 5, and then the loss is that of a pair."""
    counts_I = (np.arange(ITEMS) > 0) & (np.arange(ITEMS) <= 6)
    masked, scores = loss_of(LossConfig(full=True, seen=SeenNegatives.mask), counts_I, is_window)
    pairs = [np.logaddexp(of[p], of[5]) - of[p] for of, p in zip(scores, positives, strict=True)]
    assert masked == pytest.approx(np.mean(pairs), rel=1e-5)
    bilateral = LossConfig(kind="bilateral", exponent=1.5, full=True, seen=SeenNegatives.mask)
    pairs = [1.5 * of[5] - of[p] for of, p in zip(scores, positives, strict=True)]
    assert loss_of(bilateral, counts_I, is_window)[0] == pytest.approx(np.mean(pairs), rel=1e-5)


@pytest.mark.parametrize("kind", ["softmax", "bpr"])
def test_with_seen_mask_a_positive_whose_negatives_are_all_its_users_counts_nothing(kind: str) -> None:
    counts_I = np.isin(np.arange(ITEMS), [1, 2, 3, 6]).astype(np.int64)
    assert loss_of(LossConfig(kind=kind, num_uniform=8, seen=SeenNegatives.mask), counts_I, False)[0] == 0.0


def test_expected_counts_are_those_of_the_mixture() -> None:
    counts = np.array([0, 6, 2])  # row 0 is unknown
    found = log_expected_count(counts, num_in_batch=3, drawn=mixture(counts, 10, 1)).exp()
    assert found[1:].tolist() == pytest.approx([4 * 6 / 8 + 10 / 2, 4 * 2 / 8 + 10 / 2])


def test_uniform_draws_never_give_the_unknown_row() -> None:
    rows = UniformSampler(np.array([0, 1, 1, 1, 1])).draw(1000, torch.Generator().manual_seed(0))
    assert set(rows.tolist()) == {1, 2, 3, 4}


def test_popular_draws_come_as_often_as_the_log_has_them() -> None:
    counts = np.array([0, 6, 0, 2])
    rows = PopularSampler(counts).draw(20_000, torch.Generator().manual_seed(0))
    assert (torch.bincount(rows, minlength=4) / 20_000).tolist() == pytest.approx([0, 0.75, 0, 0.25], abs=0.01)

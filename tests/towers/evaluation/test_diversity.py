"""Properties of recommended lists, relevant or not: diversity, novelty, coverage and Gini by hand."""

import numpy as np
import pyarrow as pa
import pytest

from data.sequences.histories import Sequences
from towers.evaluation import diversity
from towers.evaluation.diversity import ItemSimilarity, sampled
from towers.evaluation.metrics import coverage, gini, novelty, times_recommended

PAIRS = [(1, 1), (1, 2), (2, 1), (2, 2), (3, 3), (3, 3)]  # items 1 and 2 have the same users, 3 another, 4 none
USERS, ITEMS = (np.array(column, dtype=np.int32) for column in zip(*PAIRS, strict=True))
SEEN = Sequences.of(pa.table({"user_row": USERS, "item_row": ITEMS}), 4)


def test_diversity_by_hand() -> None:
    similarity = ItemSimilarity.of(SEEN, num_items=5)
    lists = np.array([[1, 2, 3], [1, 3, 4], [2, -1, -1], [1, 2, -1]])
    assert similarity.diversity(lists, k=3) == pytest.approx([2 / 3, 1, 0, 0], abs=1e-6)
    assert similarity.diversity(lists, k=2) == pytest.approx([0, 1, 0, 0], abs=1e-6)


@pytest.mark.parametrize("summed", [1, 40, diversity.SUMMED])
def test_diversity_is_the_mean_over_pairs(monkeypatch: pytest.MonkeyPatch, summed: int) -> None:
    """Also where few lists are summed at a time."""
    monkeypatch.setattr(diversity, "SUMMED", summed)
    random = np.random.default_rng(0)
    table = pa.table({"user_row": random.integers(1, 30, 400), "item_row": random.integers(1, 20, 400)})
    similarity = ItemSimilarity.of(Sequences.of(table.sort_by("user_row"), 31), num_items=20)
    cosine = (similarity.unit_IU @ similarity.unit_IU.T).toarray()
    lists = np.stack([random.permutation(19)[:7] + 1 for _ in range(9)])
    wanted = [np.mean([1 - cosine[a, b] for a in rows for b in rows if a < b]) for rows in lists]
    assert similarity.diversity(lists, k=7) == pytest.approx(wanted, abs=1e-6)


def test_a_sample_is_evenly_spaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diversity, "SAMPLE", 4)
    assert sampled(np.arange(10)).tolist() == [0, 3, 6, 9]
    assert sampled(np.arange(4)).tolist() == [0, 1, 2, 3]


def test_novelty_is_the_bits_of_the_items_share() -> None:
    counts = np.array([0, 4, 2, 2, 0])
    assert novelty(np.array([[1, 2], [3, -1], [4, 4], [-1, -1]]), counts, k=2).tolist() == [1.5, 2, 3, 0]


def test_gini_by_hand() -> None:
    assert gini(np.array([9, 3, 3, 3])) == 0, "row 0 is no item"
    assert gini(np.array([0, 0, 0, 0, 8])) == 3 / 4
    assert gini(np.array([0, 1, 3])) == pytest.approx((-1 * 1 + 1 * 3) / (2 * 4))


def test_coverage_and_times_recommended() -> None:
    times = times_recommended(np.array([[1, 2, 3], [1, -1, 3]]), k=2, num_items=5)
    assert times.tolist() == [0, 2, 1, 0, 0]
    assert coverage(times) == 0.5

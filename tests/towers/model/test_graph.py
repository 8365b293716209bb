"""The graph of interactions, whole and of some users, in little memory beside the interactions."""

import tracemalloc

import numpy as np
import pytest

from data.sequences.histories import Sequences
from towers.evaluation.baselines import item_filter as filter_module
from towers.evaluation.baselines.item_filter import item_filter
from towers.model import graph
from towers.model.graph import degree_normalised, degrees, normalised_of_some


def log(num_users: int, num_items: int, most: int) -> Sequences:
    """Users with up to so many items, some of them several times."""
    random = np.random.default_rng(0)
    lengths_U = random.integers(0, most, num_users) * (random.random(num_users) < 0.9)
    offsets_U1 = np.append(0, np.cumsum(lengths_U))
    return Sequences(offsets_U1, random.integers(1, num_items, offsets_U1[-1]).astype(np.int32))


@pytest.mark.parametrize("every", [1, 3])
def test_some_users_have_the_values_that_they_have_among_all(monkeypatch: pytest.MonkeyPatch, every: int) -> None:
    of = log(50, 12, 9)
    whole = degree_normalised(of, 12).to_dense().numpy()
    monkeypatch.setattr(graph, "BLOCK", 20)
    degree_U, degree_I = degrees(of, 12)
    assert (degree_U == (whole > 0).sum(1)).all() and (degree_I == (whole > 0).sum(0)).all()
    assert (normalised_of_some(of, degree_U, degree_I, every).toarray() == whole[::every]).all()


def test_the_filter_of_a_large_log_takes_little_memory_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looked for the distinct ones among all interactions at once, in 60 bytes each, and then left users out."""
    of = log(20_000, 200, 100)
    monkeypatch.setattr(graph, "BLOCK", 10_000)
    monkeypatch.setattr(filter_module, "MAX_PAIRS", 100_000)
    tracemalloc.start()
    _, every = item_filter(of, 200)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert every > 20 and peak < of.items_N.nbytes

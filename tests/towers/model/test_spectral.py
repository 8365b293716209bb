"""The spectral start: the graph's own low frequencies."""

import numpy as np
import pyarrow as pa
import torch

from data.sequences.histories import Sequences
from towers.model.spectral import spectral_start

NUM_USERS, NUM_ITEMS = 61, 41
PAIRS = [(u, i) for u in range(1, NUM_USERS - 1) for i in range(1, NUM_ITEMS) if u % 2 == i % 2 and (u + i) % 5]


def sequences() -> Sequences:
    users, items = (np.array(column, dtype=np.int32) for column in zip(*PAIRS, strict=True))
    return Sequences.of(pa.table({"user_row": users, "item_row": items}), NUM_USERS)


def test_two_worlds_come_apart() -> None:
    users, items = spectral_start(sequences(), NUM_ITEMS, embedding_dim=2, seed=0)
    known = torch.tensor(sorted({i for _, i in PAIRS}))
    scores = users[1:-1] @ items[known].T
    same = (torch.arange(1, NUM_USERS - 1)[:, None] % 2) == (known % 2)
    assert scores[same].min() > 0.99
    assert scores[~same].abs().max() < 0.1


def test_rows_are_unit_vectors_and_the_same_for_the_same_seed() -> None:
    first, second = (spectral_start(sequences(), NUM_ITEMS, 8, seed=1) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)
        assert torch.allclose(a.norm(dim=1), torch.ones(len(a)))


def test_more_dimensions_than_the_graph_has() -> None:
    users, items = spectral_start(sequences(), NUM_ITEMS, embedding_dim=100, seed=0)
    assert (users.shape, items.shape) == ((NUM_USERS, 100), (NUM_ITEMS, 100))
    assert torch.isfinite(users).all()

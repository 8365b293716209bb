"""Items without training data take the places of known ones only where the validation part says that it is right."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from data.sequences.histories import Sequences
from towers.checkpoint.checkpoint import Checkpoint
from towers.checkpoint.item_tower import open_item_tower
from towers.evaluation.decisions import cold_items
from towers.evaluation.decisions.cold_items import LENGTHS, ColdItemLength, decide_length
from towers.evaluation.intervals import MIN_USERS
from towers.evaluation.queries import HeldOut
from towers.evaluation.ranking import QueryVectors, Ranking, retrieve

USERS, DIM, KNOWN, COLD = 40, 4, 1, 5
COSINE = 0.88
"""Of a user with the known item of the user's taste; with the cold item of that taste it is 1."""


def decided(
    relevant: int, num_users: int = USERS, counts: tuple[int, ...] = (0, 9, 9, 9, 9, 0, 0, 0, 0)
) -> ColdItemLength:
    """User q has taste q % 4. Items 1 to 4 are known, 5 to 8 cold, one for each taste; each user takes one of the two.

    Args:
        relevant: KNOWN or COLD.
    """
    taste_Q = np.arange(num_users) % DIM
    axes = torch.eye(DIM)
    away = torch.roll(axes, 1, 0)
    known = COSINE * axes + (1 - COSINE**2) ** 0.5 * away
    item_ID = torch.cat([torch.zeros(1, DIM), known, axes])
    queries = QueryVectors(axes[taste_Q], torch.ones(num_users, dtype=torch.bool))
    none = Sequences.of(pa.table({"user_row": pa.array([], pa.int32()), "item_row": pa.array([], pa.int32())}), 100)
    held_out = HeldOut(np.arange(1, num_users + 1, dtype=np.int32), (np.arange(num_users), taste_Q + relevant), none)
    return decide_length(queries, held_out, np.array(counts), item_ID, k=2, batch_size=16, resamples=200)


def test_known_items_keep_their_places() -> None:
    found = decided(KNOWN)
    assert found.length == max(length for length in LENGTHS if length < COSINE)
    assert found.num_items == 4
    assert found.ndcg["1"] < found.ndcg[f"{found.length:g}"] == 1


def test_cold_items_that_are_taken_stay_as_they_are() -> None:
    assert decided(COLD).length == 1


@pytest.mark.parametrize(
    ("num_users", "counts", "why"),
    [(MIN_USERS - 1, (0, 9, 9, 9, 9, 0, 0, 0, 0), "are needed"), (USERS, (0, *[9] * 8), "all items have")],
)
def test_without_evidence_they_stay_as_they_are(num_users: int, counts: tuple[int, ...], why: str) -> None:
    found = decided(KNOWN, num_users, counts)
    assert found.length == 1 and why in found.reason


def test_a_sample_of_many_users_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each length ranks the whole catalogue for all users that decide."""
    ranked: list[int] = []

    def noted(queries: QueryVectors, *arguments: Any) -> Ranking:
        ranked.append(len(queries.known_Q))
        return retrieve(queries, *arguments)

    monkeypatch.setattr(cold_items, "retrieve", noted)
    monkeypatch.setattr(cold_items, "MAX_USERS", 24)
    assert decided(KNOWN).length == max(length for length in LENGTHS if length < COSINE)
    assert ranked == [24] * len(LENGTHS)


def test_checkpoints_keep_the_length_and_serve_by_it(checkpoint: Checkpoint) -> None:
    model, length = checkpoint.model, checkpoint.manifest["cold_items"]["length"]
    assert model.cold_length == length == open_item_tower(checkpoint.folder).cold_length
    cold = ~model.item_ids.known_N
    cold[0] = False
    assert checkpoint.manifest["cold_items"]["num_items"] == int(cold.sum()) > 0
    rows = torch.arange(len(cold))
    before = model.cold_length
    try:
        model.cold_length = 0.5
        norms = model.item_vectors(rows).norm(dim=1)
    finally:
        model.cold_length = before
    torch.testing.assert_close(norms[cold], torch.full((int(cold.sum()),), 0.5))
    torch.testing.assert_close(norms[1:][~cold[1:]], torch.ones(int((~cold[1:]).sum())))

"""How long the vectors of items without training data are, beside the others': decided on validation.

Nothing in training says how seldom such an item is taken: it is no negative, since it may not have existed yet, and its
id is unknown. By its features alone it looks like an item of usual popularity, and at full length it takes the places
of items that are known. A shorter vector lowers all of its scores by a factor, and leaves the order among such items.

Shape legend: Q queries, S lengths, I items (row 0 = unknown), D dimension.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from towers.evaluation.decisions.placement import accuracy
from towers.evaluation.intervals import MIN_USERS, SEED, drawn, intervals
from towers.evaluation.queries import HeldOut
from towers.evaluation.ranking import QueryVectors, retrieve
from towers.model.item_tower import shortened
from towers.model.tie_order import TieOrder

LENGTHS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5)
"""The lengths that are tried; the vectors of items with training data have length 1."""

MAX_USERS = 10_000
"""At most so many users decide, drawn at random, since each length ranks the whole catalogue for all of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ColdItemLength:
    """The decision, and what it rests on; checkpoints hold it in their manifests under `cold_items`.

    Attributes:
        length: of the vectors of items without training data.
        num_items: such items in the catalogue.
        reason: why, in words.
        ndcg: nDCG of the validation queries, by length.
    """

    length: float
    num_items: int
    reason: str
    ndcg: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"vectors of length {self.length:g}; {self.reason}"

    def as_json(self) -> dict[str, Any]:
        """The attributes as JSON values."""
        return asdict(self)


def undecided(counts_I: np.ndarray) -> ColdItemLength:
    """The length where there is nothing to decide it on."""
    reason = "there is no validation part to decide it on"
    return ColdItemLength(length=1.0, num_items=int((counts_I[1:] == 0).sum()), reason=reason)


def decide_length(
    queries: QueryVectors,
    held_out: HeldOut,
    counts_I: np.ndarray,
    item_ID: Tensor,
    k: int,
    batch_size: int,
    resamples: int,
    ties: TieOrder | None = None,
) -> ColdItemLength:
    """Measures the queries of the validation part with each length.

    The greatest length wins whose nDCG@k is not lower than that of the best one, by a 95 % interval over users: where
    the validation part does not tell lengths apart, items without training data get the better chance.

    Args:
        queries: of `held_out`.
        counts_I: interactions of each item that the model was fitted on.
        item_ID: float32, all item vectors, at full length.
    """
    if len(queries.known_Q) > MAX_USERS:
        kept = drawn(len(queries.known_Q), MAX_USERS)
        queries, held_out = queries.take(kept), held_out.take(kept)
    is_cold_I = torch.from_numpy(counts_I == 0).to(item_ID.device)
    is_cold_I[0] = False
    num_items = int(is_cold_I.sum())
    known_Q = queries.known_Q.cpu().numpy()
    if not num_items:
        return ColdItemLength(length=1.0, num_items=0, reason="all items have training data")
    if known_Q.sum() < MIN_USERS:
        reason = f"the validation part has {known_Q.sum()} users that the towers know, {MIN_USERS} are needed"
        return ColdItemLength(length=1.0, num_items=num_items, reason=reason)
    name, found = f"ndcg@{k}", []
    for length in LENGTHS:
        vectors_ID = shortened(item_ID, is_cold_I, length)
        ranking = retrieve(queries, held_out, counts_I, vectors_ID, batch_size, k, ties)
        found.append(accuracy(ranking, held_out, len(counts_I), k)[name][known_Q])
    ndcg_SQ = np.stack(found)
    mean_S = ndcg_SQ.mean(1)
    loss_QS = (ndcg_SQ - ndcg_SQ[mean_S.argmax()]).T
    high_S = intervals(loss_QS, SEED, resamples)[:, 1]
    chosen = int((high_S >= 0).argmax())
    reason = f"{name} on validation {mean_S[chosen]:.4f}, at full length {mean_S[0]:.4f}"
    ndcg = {f"{length:g}": float(mean) for length, mean in zip(LENGTHS, mean_S, strict=True)}
    return ColdItemLength(length=LENGTHS[chosen], num_items=num_items, reason=reason, ndcg=ndcg)

"""Whether users without training data are placed by their features, or get popular items: decided on validation.

The towers learn to do without ids by id dropout, but whether features alone place a user better than popularity depends
on the log. The users who are asked are the validation part's own ones without training data. Users with training data
whose ids and histories are masked would be more, and too favourable: their feature values were fitted on their own
interactions, and a value that few users share is nearly an id.

Shape legend: Q queries, U users, I items (row 0 of both = unknown), D dimension.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from towers.evaluation.intervals import MIN_USERS, SEED, intervals
from towers.evaluation.metrics import hits, per_query
from towers.evaluation.queries import HeldOut
from towers.evaluation.ranking import QueryVectors, Ranking, rank_by_popularity, retrieve
from towers.evaluation.slices import COLD_USERS, Slice
from towers.model.tie_order import TieOrder
from towers.model.two_tower import TwoTower


@dataclass(frozen=True, kw_only=True, slots=True)
class FeaturePlacement:
    """The decision, and what it rests on; checkpoints hold it in their manifests under `placement`.

    Attributes:
        by_features: whether users without training data and history are placed by their features.
        reason: why, in words.
        num_users: such users among the validation queries.
        towers, popularity: nDCG and recall of these users by either way, by metric.
        difference: by metric, [towers minus popularity, low, high] with a 95 % interval over users.
    """

    by_features: bool
    reason: str
    num_users: int = 0
    towers: dict[str, float] = field(default_factory=dict)
    popularity: dict[str, float] = field(default_factory=dict)
    difference: dict[str, list[float]] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{'placed by their features' if self.by_features else 'popular items'}; {self.reason}"

    def as_json(self) -> dict[str, Any]:
        """The attributes as JSON values."""
        return asdict(self)


UNDECIDED = FeaturePlacement(by_features=False, reason="there is no validation part to decide it on")


def decide_placement(
    model: TwoTower,
    queries: QueryVectors,
    held_out: HeldOut,
    popularity_I: np.ndarray,
    item_ID: Tensor,
    k: int,
    batch_size: int,
    resamples: int,
    ties: TieOrder | None = None,
) -> FeaturePlacement:
    """Compares towers and popularity for the queries of users of whom features alone are known.

    Features win if their nDCG@k is higher, with a 95 % interval over users above 0: popular items are the safe choice.

    Args:
        queries: of `held_out`, embedded while `model.places_by_features` was false.
        popularity_I: how popular each item is (`towers.model.tie_order.popularity`).
        item_ID: float32, all item vectors.
    """
    described_Q = model.user_described_N[torch.from_numpy(held_out.user_rows_Q)].to(queries.known_Q.device)
    kept = (described_Q & ~queries.known_Q).cpu().nonzero().flatten()
    if len(kept) < MIN_USERS:
        reason = f"{len(kept)} users of the validation part are known by their features alone, {MIN_USERS} are needed"
        return FeaturePlacement(by_features=False, reason=reason, num_users=len(kept))
    asked = held_out.take(kept.numpy())
    vectors = QueryVectors(queries.user_QD[kept], torch.ones(len(kept), dtype=torch.bool))
    by_towers = retrieve(vectors, asked, popularity_I, item_ID, batch_size, k, ties)
    by_popularity = rank_by_popularity(asked, popularity_I, batch_size, k, ties)
    towers, popularity = (accuracy(ranking, asked, len(popularity_I), k) for ranking in (by_towers, by_popularity))
    change_QM = np.stack([towers[name] - popularity[name] for name in towers], axis=1)
    bounds_M2 = intervals(change_QM, SEED, resamples).tolist()
    difference = {
        name: [float(towers[name].mean() - popularity[name].mean()), *b]
        for name, b in zip(towers, bounds_M2, strict=True)
    }
    ndcg = f"ndcg@{k}"
    better = difference[ndcg][1] > 0
    return FeaturePlacement(
        by_features=better,
        reason=f"{ndcg} of features is {'' if better else 'not '}higher than that of popular items",
        num_users=len(kept),
        towers={name: float(of.mean()) for name, of in towers.items()},
        popularity={name: float(of.mean()) for name, of in popularity.items()},
        difference=difference,
    )


def accuracy(ranking: Ranking, held_out: HeldOut, num_items: int, k: int) -> dict[str, np.ndarray]:
    """nDCG@k and recall@k of each query, float64 [Q]."""
    found = per_query(hits(ranking.rows_QK, held_out.relevant, num_items), held_out.num_relevant_Q, [k])
    return {name: found[name] for name in (f"ndcg@{k}", f"recall@{k}")}


def cold_user_slices(model: TwoTower, held_out: HeldOut, user_counts_U: np.ndarray) -> Iterator[Slice]:
    """Slices of the relevant pairs of users without training data, by what is known of them. Empty ones are left out.

    Args:
        user_counts_U: interactions of each user in the splits that the model was fitted on.
    """
    rows_Q = held_out.user_rows_Q
    history_QL = torch.from_numpy(held_out.history.last(rows_Q, model.config.num_history))
    by_history_Q = model.item_places_N.cpu()[history_QL].any(1).numpy()
    by_features_Q = model.user_described_N.cpu()[torch.from_numpy(rows_Q)].numpy()
    is_cold_Q = user_counts_U[rows_Q] == 0
    named = {
        "with a history": by_history_Q,
        "with features alone": by_features_Q & ~by_history_Q,
        "nothing known": ~by_features_Q & ~by_history_Q,
    }
    for name, of_Q in named.items():
        pairs_N = (is_cold_Q & of_Q)[held_out.relevant[0]]
        if pairs_N.any():
            yield Slice(COLD_USERS, name, pairs_N)

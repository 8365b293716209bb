"""Several goals: which users had which events with which items in a split, and what rankings are worth by them.

Shape legend: Q queries (users), K ranks, A goals.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata

from data.artifacts.errors import ConfigError
from data.dataset.prepared import PreparedDataset
from data.sequences.histories import pair_keys
from data.sequences.membership import distinct, is_among
from data.sources.event_types import EventTypes
from towers.evaluation.queries import HeldOut
from towers.evaluation.ranking import Ranking, embed, lists_of
from towers.model.two_tower import TwoTower
from towers.reranking.calibration import Calibration
from towers.reranking.reranker import Reranker


def check_goals(goals: Mapping[str, float], types: EventTypes) -> None:
    """Raises ConfigError if a goal is no event type of the log, or an ignored one, which datasets do not keep."""
    if not goals:
        return
    if not types:
        raise ConfigError(
            f"rerank.goals: {', '.join(goals)} are event types, and this log has none; set data.source.columns.type and"
            " data.events, or data.positive_from, or leave rerank.goals empty"
        )
    kept = [name for name, of in types.types.items() if of.is_kept]
    for name in goals:
        if name not in kept:
            raise ConfigError(
                f"rerank.goals.{name}: the log has no such events; its event types are {', '.join(kept)} (ignored ones"
                " are not kept)"
            )


@dataclass(frozen=True)
class GoalEvents:
    """The distinct pairs of user and item with an event of each goal in one split, of some users.

    Attributes:
        weights: of the goals, by name, in the order of A; empty without goals.
        keys: of each goal, int64, ascending: `pair_keys` of its pairs.
        num_items: row 0 included.
    """

    weights: Mapping[str, float]
    keys: tuple[np.ndarray, ...]
    num_items: int

    @classmethod
    def of(
        cls, dataset: PreparedDataset, split: str, weights: Mapping[str, float], user_rows_Q: np.ndarray
    ) -> "GoalEvents":
        """The events of `split` of these types, whatever their sign; they are read in parts, one at a time.

        Args:
            user_rows_Q: the users who are asked for; those of no others are held.
        """
        num_items, columns = dataset.items.num_rows, ["user_row", "item_row", "type"]
        if not weights:
            return cls({}, (), num_items)
        users_U = np.zeros(dataset.users.num_rows, dtype=bool)
        users_U[user_rows_Q] = True
        codes = [list(dataset.event_types.types).index(name) for name in weights]
        found: list[list[np.ndarray]] = [[np.zeros(0, np.int64)] for _ in codes]
        for part in dataset.parts(split, columns=columns, kinds=("interactions", "others"), users_U=users_U):
            users_N, items_N, types_N = (part[name].to_numpy() for name in columns)
            for code, keys in zip(codes, found, strict=True):
                of_goal = types_N == code
                keys.append(distinct(pair_keys(users_N[of_goal], items_N[of_goal], num_items)))
        return cls(weights, tuple(map(np.concatenate, found)), num_items)  # users of one part come after those before

    def among(self, user_rows_Q: np.ndarray, rows_QK: np.ndarray) -> np.ndarray:
        """bool [Q, K, A]: whether the user of each query had an event of each goal with each item.

        Args:
            rows_QK: int64, item rows; -1 or 0 where there is none.
        """
        keys_QK = pair_keys(user_rows_Q[:, None], rows_QK, self.num_items)
        return np.stack([is_among(keys_QK, keys) & (rows_QK > 0) for keys in self.keys], axis=-1)

    def values(self, user_rows_Q: np.ndarray, rows_QK: np.ndarray, ks: Sequence[int]) -> dict[str, np.ndarray]:
        """What the first k items were worth to each user: {"value@20": float64 [Q], ...}; empty without goals.

        It is the sum of the weights of the events that happened: what the order by value is made to raise.
        """
        if not self.weights:
            return {}
        worth_QK = self.among(user_rows_Q, rows_QK) @ np.array(list(self.weights.values()), dtype=np.float64)
        summed_QK = np.cumsum(worth_QK, axis=1)
        return {f"value@{k}": summed_QK[:, min(k, summed_QK.shape[1]) - 1] for k in ks}


def gives_log_odds(reranker: Reranker) -> bool:
    """Whether its scores are log-odds: not where it was not fitted, nor where they are values of several goals."""
    return reranker.is_fitted and reranker.goals is None


@torch.inference_mode()
def goal_report(
    model: TwoTower, reranker: Reranker, retrieved: Ranking, held_out: HeldOut, events: GoalEvents, batch_size: int
) -> list[dict[str, Any]]:
    """How well the probability of each goal tells candidates apart, and how well it is calibrated, as JSON values.

    Args:
        retrieved: the candidates of the towers; those of users whom they do not know are left out.
    """
    heads = reranker.goals
    if heads is None or not reranker.is_fitted:
        return []
    lists = lists_of(embed(model, held_out, batch_size), retrieved, held_out, reranker.context)
    starts = range(0, len(lists), batch_size)
    probability_QKA = torch.cat([heads(reranker.goal_inputs(lists[at : at + batch_size])) for at in starts]).numpy()
    there_QK = (retrieved.rows_QK > 0) & retrieved.by_towers_Q[:, None]
    hit_QKA = events.among(held_out.user_rows_Q, retrieved.rows_QK)
    report = []
    for a, name in enumerate(events.weights):
        probability_N, hit_N = probability_QKA[there_QK, a], hit_QKA[there_QK, a]
        report.append(
            {
                "name": name,
                "weight": float(heads.weights_A[a]),
                "num_hits": int(hit_N.sum()),
                "auc": area_under_roc(probability_N, hit_N),
                "calibration_error": Calibration.of(probability_N, hit_N).error if len(hit_N) else None,
            }
        )
    return report


def area_under_roc(score_N: np.ndarray, hit_N: np.ndarray) -> float | None:
    """The probability that a hit has a higher score than another prediction, ties half; None without both kinds."""
    num_hits = int(hit_N.sum())
    if not 0 < num_hits < len(hit_N):
        return None
    above = rankdata(score_N)[hit_N].sum() - num_hits * (num_hits + 1) / 2
    return float(above / (num_hits * (len(hit_N) - num_hits)))

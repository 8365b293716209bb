"""What a release must hold before there is one: it is compared with the live one, and its vectors are looked at.

Shape legend: Q queries, N items, D dimension.
"""

from dataclasses import dataclass

import numpy as np
import torch

from serve.releases.gate.comparison import Answers, Queries
from serve.releases.gate.config import GateConfig
from towers.checkpoint.checkpoint import Checkpoint
from towers.evaluation.config import EvaluateConfig
from towers.evaluation.paired import differences
from towers.evaluation.report import RERANKED


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `bound` is in words; `live` is the same of the live release, where it has that."""

    name: str
    value: float
    live: float | None
    bound: str
    passed: bool


def _compared(
    config: GateConfig, evaluate: EvaluateConfig, asked: Queries, ours: Answers, theirs: Answers
) -> list[Check]:
    every_Q = np.ones_like(asked.least_active_Q)
    return [
        _quality(f"nDCG@{evaluate.k}", ours, theirs, every_Q, evaluate, config.max_loss),
        _quality(f"nDCG@{evaluate.k}, least active quarter", ours, theirs, asked.least_active_Q, evaluate, None),
        _at_least("coverage", ours.coverage, theirs.coverage, (1 - config.max_coverage_loss) * theirs.coverage),
        _at_most(
            "share of popular", ours.popular_share, theirs.popular_share, theirs.popular_share + config.max_popular_rise
        ),
    ]


def _quality(
    name: str, ours: Answers, theirs: Answers, of_Q: np.ndarray, evaluate: EvaluateConfig, max_loss: float | None
) -> Check:
    """A paired test by user: not clearly worse, and the loss within its bound."""
    if not of_Q.any():
        return Check(name, 0.0, 0.0, "no such user", True)
    (found,) = differences(RERANKED, {name: ours.ndcg_Q[of_Q]}, {name: theirs.ndcg_Q[of_Q]}, evaluate)
    is_worse = found.difference < 0 and found.is_clear
    passed = not is_worse and (max_loss is None or found.difference >= -max_loss * found.baseline)
    low, high = found.interval
    bound = f"not worse: {found.difference:+.4f} ({low:+.4f} .. {high:+.4f}), p {found.p:.3g}"
    if max_loss is not None:
        bound += f"; at least {(1 - max_loss) * found.baseline:.4g}"
    return Check(name, found.checkpoint, found.baseline, bound, passed)


def _health(config: GateConfig, checkpoint: Checkpoint) -> list[Check]:
    """Of the items' vectors: lengths, whether they have collapsed, and how many dimensions they use."""
    item_ND = checkpoint.reranker.item_ID[1:].double()
    norm_N = torch.linalg.vector_norm(item_ND, dim=1)
    short = float(np.quantile(norm_N.numpy(), 0.01))  # a few items that nothing is known of may have none
    ratio = float(norm_N.max()) / short if short > 0 else float("inf")
    unit_ND = item_ND / norm_N.clamp_min(1e-12)[:, None]
    cosine = float(unit_ND.mean(0).square().sum())
    centred_ND = unit_ND - unit_ND.mean(0)
    spread_D = torch.linalg.eigvalsh(centred_ND.T @ centred_ND).clamp_min(0)
    dims = float(spread_D.sum().square() / spread_D.square().sum().clamp_min(1e-30))
    return [
        _at_most("items: longest vector / 1st percentile", ratio, None, config.max_norm_ratio),
        _at_most("items: mean cosine of two", cosine, None, config.max_mean_cosine),
        _at_least("items: dimensions in use", dims, None, config.min_effective_dims),
    ]


def _floor(config: GateConfig, checkpoint: Checkpoint) -> list[Check]:
    """By the checkpoint's own report, where it measured popularity."""
    manifest, name = checkpoint.manifest, f"ndcg@{checkpoint.manifest['k']}"
    if "popularity" not in manifest["floors"]:
        return []
    popular = manifest["floors"]["popularity"][name]
    ours, least = manifest["reranked"][name], config.min_over_popularity * popular
    return [Check(f"{name} on its test part", ours, None, f"at least {least:.4g} (popular items)", ours >= least)]


def _at_most(name: str, value: float, live: float | None, bound: float) -> Check:
    return Check(name, value, live, f"at most {bound:.4g}", value <= bound)


def _at_least(name: str, value: float, live: float | None, bound: float) -> Check:
    return Check(name, value, live, f"at least {bound:.4g}", value >= bound)

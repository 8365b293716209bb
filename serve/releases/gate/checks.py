"""The single checks of the release gate.

Shape legend: Q queries, N items, I items with the padding row 0, D dimension.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from serve.releases.gate.comparison import Answers, SharedQueries
from serve.releases.gate.config import GateConfig
from serve.releases.gate.popularity import popular_ndcg
from serve.releases.golden_queries import median_latency_ms
from towers.checkpoint.checkpoint import Checkpoint
from towers.evaluation.config import Baseline, EvaluateConfig
from towers.evaluation.paired import differences
from towers.evaluation.report import RERANKED


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of one check.

    Attributes:
        name: what was measured.
        value: the value of the checkpoint that would become a release.
        live: the value of the live release; None where that is not measured.
        bound: the bound, in words.
        passed: whether the value keeps the bound.
    """

    name: str
    value: float
    live: float | None
    bound: str
    passed: bool


def compare_with_live(
    config: GateConfig, evaluate: EvaluateConfig, queries: SharedQueries, ours: Answers, theirs: Answers
) -> list[Check]:
    """Checks the quality and diversity of the answers to held-out queries against those of the live release."""
    every_Q = np.ones_like(queries.least_active_Q)
    max_popular = theirs.popular_share + config.max_popular_rise
    return [
        _quality(f"nDCG@{evaluate.k}", ours, theirs, every_Q, evaluate, config.max_loss),
        _quality(f"nDCG@{evaluate.k}, least active quarter", ours, theirs, queries.least_active_Q, evaluate, None),
        _at_least("coverage", ours.coverage, theirs.coverage, (1 - config.max_coverage_loss) * theirs.coverage),
        _at_most("share of popular", ours.popular_share, theirs.popular_share, max_popular),
    ]


def _quality(
    name: str,
    ours: Answers,
    theirs: Answers,
    included_Q: np.ndarray,
    evaluate: EvaluateConfig,
    max_loss: float | None,
) -> Check:
    """Checks that a paired test by user finds no significant loss, and no loss above `max_loss` (None: no bound)."""
    if not included_Q.any():
        return Check(name, 0.0, 0.0, "no such user", True)
    (found,) = differences(RERANKED, {name: ours.ndcg_Q[included_Q]}, {name: theirs.ndcg_Q[included_Q]}, evaluate)
    is_worse = found.difference < 0 and found.is_significant
    passed = not is_worse and (max_loss is None or found.difference >= -max_loss * found.baseline)
    low, high = found.interval
    bound = f"not worse: {found.difference:+.4f} ({low:+.4f} .. {high:+.4f}), p {found.p:.3g}"
    if max_loss is not None:
        bound += f"; at least {(1 - max_loss) * found.baseline:.4g}"
    return Check(name, found.checkpoint, found.baseline, bound, passed)


def check_item_vectors(config: GateConfig, checkpoint: Checkpoint) -> list[Check]:
    """Checks the spread of the item vectors' lengths, whether they have collapsed, and the dimensions in use."""
    item_ND = checkpoint.item_vectors_ID[1:].double()
    norm_N = torch.linalg.vector_norm(item_ND, dim=1)
    short = float(np.quantile(norm_N.numpy(), 0.01))  # not the shortest: an item without interactions may have length 0
    ratio = float(norm_N.max()) / short if short > 0 else float("inf")
    unit_ND = item_ND / norm_N.clamp_min(1e-12)[:, None]
    cosine = float(unit_ND.mean(0).square().sum())
    centred_ND = unit_ND - unit_ND.mean(0)
    eigenvalues_D = torch.linalg.eigvalsh(centred_ND.T @ centred_ND).clamp_min(0)
    effective_dims = float(eigenvalues_D.sum().square() / eigenvalues_D.square().sum().clamp_min(1e-30))
    return [
        _at_most("items: longest vector / 1st percentile", ratio, None, config.max_norm_ratio),
        _at_most("items: mean cosine of two", cosine, None, config.max_mean_cosine),
        _at_least("items: dimensions in use", effective_dims, None, config.min_effective_dims),
    ]


def check_over_popularity(config: GateConfig, checkpoint: Checkpoint) -> Check:
    """Checks the nDCG in the checkpoint's report against popular items', which are measured here if it lacks them.

    Raises:
        NotSealed, CheckpointError: the report lacks them, and what they would be measured on is gone.
    """
    manifest, name = checkpoint.manifest, f"ndcg@{checkpoint.manifest['k']}"
    reported = manifest["floors"].get(Baseline.popularity.value)
    popularity = popular_ndcg(checkpoint) if reported is None else reported[name]
    ours, least = manifest["reranked"][name], config.min_over_popularity * popularity
    return Check(f"{name} on its test part", ours, None, f"at least {least:.4g} (popular items)", ours >= least)


def check_over_live_report(max_loss: float, ours: Mapping[str, Any], live: Mapping[str, Any]) -> Check:
    """Checks the nDCG in a report against that in the live release's, each measured on its own test part.

    A model that was trained on events without sense foretells none of the later ones, which have no sense either. To
    compare it with the live release on those would find nothing: both fail.

    Args:
        max_loss: the largest loss, as a share of what the live release's report has.
        ours, live: manifests with a report.
    """
    name = f"ndcg@{ours['k']}"
    value, theirs = float(ours["reranked"][name]), float(live["reranked"].get(name, 0.0))
    return _at_least(f"{name} on its own test part", value, theirs, (1 - max_loss) * theirs)


def check_latency(config: GateConfig, checkpoint: Checkpoint) -> Check:
    """Checks the median time in ms of a golden query through all stages in this process."""
    ms = median_latency_ms(checkpoint)
    return Check("golden queries, median ms", ms, None, f"at most {config.max_golden_ms:g}", ms <= config.max_golden_ms)


def _at_most(name: str, value: float, live: float | None, bound: float) -> Check:
    return Check(name, value, live, f"at most {bound:.4g}", value <= bound)


def _at_least(name: str, value: float, live: float | None, bound: float) -> Check:
    return Check(name, value, live, f"at least {bound:.4g}", value >= bound)

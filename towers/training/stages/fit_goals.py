"""Fits the heads of the re-ranker's goals, over a re-ranker that is fitted already and stays as it is.

Shape legend: B queries, K candidates, A goals, N candidates of all queries.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from towers.reranking.calibration import platt
from towers.reranking.goal_heads import GoalHeads
from towers.reranking.queries import RerankQueries
from towers.reranking.reranker import Reranker
from towers.training.epochs.finite import FiniteSteps, NotFinite, check_weights, fitting_reranker

LEAST_SHARE = 1e-6
"""A goal starts from this share of hits at least, so that its log-odds are finite."""


def fit_goals(
    reranker: Reranker, train: RerankQueries, choosing: RerankQueries, calibrating: RerankQueries, seed: int
) -> dict[str, float]:
    """Fits the heads in place by cross-entropy, keeps the best epoch, and calibrates each head by itself.

    A candidate is a hit of a goal if its user had such an event with it in the held-out part, whichever query it
    belongs to, and all users count alike. The three parts share no user. A goal of which the training or the
    calibrating users have no event gets one probability for all candidates: the share of hits in all three parts.

    Returns:
        For each goal, the cross-entropy on the choosing users' candidates over that of their share of hits: below 1 is
        better than one probability for all. 1 where a goal could not be fitted.

    Raises:
        NotFinite: a loss, a gradient, a weight or an entropy is not finite. The message names the epoch and the cure.
    """
    heads = reranker.goals
    assert heads is not None, "the re-ranker has goals"
    config, generator, chosen_by = reranker.config, torch.Generator().manual_seed(seed), _Labelled.of(choosing)
    optimizer = torch.optim.Adam(heads.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    reranker.eval()
    _start_at_the_share(reranker, heads, _Labelled.of(train))
    best, kept = _entropies(reranker, heads, chosen_by).mean(), copy.deepcopy(heads.state_dict())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # dropout draws from the global generator
        for epoch in range(1, config.epochs + 1):
            with fitting_reranker(f"re-ranker's goals, epoch {epoch}", config):
                _epoch(reranker, train, optimizer, generator)
                value = _finite(_entropies(reranker, heads, chosen_by)).mean()
            if value < best:
                best, kept = value, copy.deepcopy(heads.state_dict())
    heads.load_state_dict(kept)
    without = goals_without_events(heads.names, train, calibrating)
    with fitting_reranker("re-ranker's goals, calibration", config):
        _calibrate(reranker, heads, _Labelled.of(calibrating), without)
    for name in without:
        _set_share(heads, heads.names.index(name), [_Labelled.of(part) for part in (train, choosing, calibrating)])
    normalised_A = _entropies(reranker, heads, chosen_by) / _entropies_of_the_share(chosen_by)
    found = dict(zip(heads.names, normalised_A.nan_to_num(1.0).tolist(), strict=True))
    return found | dict.fromkeys(without, 1.0)


@dataclass(frozen=True)
class _Labelled:
    """Some queries, and what happened with their candidates.

    Attributes:
        hit_NA: float32, 1 where the user had an event of the goal with the candidate.
        weight_N1: float32, with which all users count alike, with a mean of 1.
    """

    queries: RerankQueries
    hit_NA: Tensor
    weight_N1: Tensor

    @classmethod
    def of(cls, queries: RerankQueries) -> "_Labelled":
        assert queries.goals_BKA is not None, "queries to fit goals on come with their goals"
        there_BK = queries.lists.rows_BK > 0
        weight_N1 = queries.user_weights()[:, None].expand(there_BK.shape)[there_BK][:, None]
        return cls(queries, queries.goals_BKA[there_BK].float(), weight_N1 / weight_N1.mean())

    def mean(self, of_NA: Tensor) -> Tensor:
        """float32 [A]: the mean over the candidates, in which all users count alike."""
        return (of_NA * self.weight_N1).mean(0)

    def log_odds(self, reranker: Reranker, heads: GoalHeads) -> Tensor:
        """Log-odds before calibration, float32 [N, A], without gradients."""
        parts = []
        with torch.no_grad():
            for at in torch.arange(len(self.queries)).split(reranker.config.batch_size):
                lists = self.queries.lists[at]
                parts.append(heads.uncalibrated(reranker.goal_inputs(lists))[lists.rows_BK > 0])
        return torch.cat(parts)


def goals_without_events(names: Sequence[str], *parts: RerankQueries) -> list[str]:
    """The goals of which one of the parts has no event."""
    found = []
    for a, name in enumerate(names):
        if not all(part.goals_BKA is not None and part.goals_BKA[..., a].any() for part in parts):
            found.append(name)
    return found


@torch.no_grad()
def _start_at_the_share(reranker: Reranker, heads: GoalHeads, train: _Labelled) -> None:
    """Sets the bias of each goal so that its mean log-odds are those of its share of hits."""
    share_A = train.mean(train.hit_NA).clamp(LEAST_SHARE, 1 - LEAST_SHARE)
    heads.bias_A.add_(share_A.logit() - train.mean(train.log_odds(reranker, heads)))


def _epoch(
    reranker: Reranker, train: RerankQueries, optimizer: torch.optim.Optimizer, generator: torch.Generator
) -> None:
    """Trains the heads on each query once; raises NotFinite at the first step that is not finite."""
    heads = reranker.goals
    assert heads is not None, "the re-ranker has goals"
    heads.train()
    steps = FiniteSteps(heads, train.hit_BK.device)
    for at in torch.randperm(len(train), generator=generator).split(reranker.config.batch_size):
        optimizer.zero_grad()
        loss = _loss(reranker, heads, train[at])
        loss.backward()
        steps.watch(loss)
        optimizer.step()
    check_weights(heads)
    heads.eval()


def _finite(entropy_A: Tensor) -> Tensor:
    """The entropies; raises NotFinite where one of them is not finite."""
    if not entropy_A.isfinite().all():
        raise NotFinite("a cross-entropy on the queries that choose the epoch is not finite")
    return entropy_A


def _loss(reranker: Reranker, heads: GoalHeads, queries: RerankQueries) -> Tensor:
    with torch.no_grad():
        inputs_BKW = reranker.goal_inputs(queries.lists)
    log_odds_NA, labelled = heads.uncalibrated(inputs_BKW)[queries.lists.rows_BK > 0], _Labelled.of(queries)
    return functional.binary_cross_entropy_with_logits(log_odds_NA, labelled.hit_NA, labelled.weight_N1)


def _entropies(reranker: Reranker, heads: GoalHeads, labelled: _Labelled) -> Tensor:
    """Cross-entropy of each goal after calibration, float32 [A], in nats."""
    slope_A, bias_A = heads.calibration_A2.unbind(-1)
    log_odds_NA = slope_A * labelled.log_odds(reranker, heads) + bias_A
    loss_NA = functional.binary_cross_entropy_with_logits(log_odds_NA, labelled.hit_NA, reduction="none")
    return labelled.mean(loss_NA)


def _entropies_of_the_share(labelled: _Labelled) -> Tensor:
    """Cross-entropy of each goal if its share of hits were the probability of all, float32 [A]; NaN without hits."""
    share_A = labelled.mean(labelled.hit_NA)
    entropy_A = functional.binary_cross_entropy(share_A, share_A, reduction="none")
    return torch.where(entropy_A > 0, entropy_A, torch.nan)


@torch.no_grad()
def _calibrate(reranker: Reranker, heads: GoalHeads, calibrating: _Labelled, without: Sequence[str]) -> None:
    """Fits slope and bias of each goal (Platt scaling) but of those without events."""
    log_odds_NA, hit_NA = calibrating.log_odds(reranker, heads), calibrating.hit_NA
    for a, name in enumerate(heads.names):
        if name in without:
            continue
        fitted = platt(log_odds_NA[:, a], hit_NA[:, a] > 0, calibrating.weight_N1[:, 0])
        if not (fitted.isfinite().all() and fitted[0] > 0):
            raise NotFinite(f"the log-odds of {name} are so large that float32 has no slope for them")
        heads.calibration_A2[a] = fitted


@torch.no_grad()
def _set_share(heads: GoalHeads, a: int, parts: Sequence[_Labelled]) -> None:
    """Gives goal `a` one probability for all candidates: its share of hits in all parts, of half a hit at least."""
    hits = sum(float((part.hit_NA[:, a] * part.weight_N1[:, 0]).sum()) for part in parts)
    share = (hits + 0.5) / (sum(len(part.hit_NA) for part in parts) + 1)
    heads.calibration_A2[a] = torch.tensor([0.0, math.log(share / (1 - share))])

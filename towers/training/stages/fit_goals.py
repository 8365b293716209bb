"""Fits the heads of the re-ranker's goals, over a re-ranker that is fitted already and stays as it is.

Shape legend: B queries, K candidates, A goals, N candidates of all queries.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from towers.reranking.calibration import platt
from towers.reranking.goal_heads import GoalHeads
from towers.reranking.queries import RerankQueries
from towers.reranking.reranker import Reranker

LEAST_SHARE = 1e-6
"""A goal starts from this share of hits at least, so that its log-odds are finite."""


def fit_goals(
    reranker: Reranker, train: RerankQueries, choosing: RerankQueries, calibrating: RerankQueries, seed: int
) -> dict[str, float]:
    """Fits the heads in place by cross-entropy, keeps the best epoch, and calibrates each head by itself.

    A candidate is a hit of a goal if its user had such an event with it in the held-out part, whichever query it
    belongs to, and all users count alike. The three parts share no user. A goal of which the training or the
    calibrating users have no event gets one probability for all candidates: the share of hits among all.

    Returns:
        For each goal, the cross-entropy on the choosing users' candidates over that of their share of hits: below 1 is
        better than one probability for all. 1 where a goal could not be fitted.
    """
    heads = reranker.goals
    assert heads is not None, "the re-ranker has goals"
    config, generator = reranker.config, torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(heads.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    reranker.eval()
    _start_at_the_share(reranker, train)
    best, kept = _entropies(reranker, choosing).mean(), copy.deepcopy(heads.state_dict())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # dropout draws from the global generator
        for _ in range(config.epochs):
            heads.train()
            for at in torch.randperm(len(train), generator=generator).split(config.batch_size):
                optimizer.zero_grad()
                _loss(reranker, train[at]).backward()
                optimizer.step()
            heads.eval()
            if (value := _entropies(reranker, choosing).mean()) < best:
                best, kept = value, copy.deepcopy(heads.state_dict())
    heads.load_state_dict(kept)
    _calibrate(reranker, heads, train, calibrating)
    normalised_A = _entropies(reranker, choosing) / _entropies_of_the_share(choosing)
    return dict(zip(heads.names, normalised_A.nan_to_num(1.0).tolist(), strict=True))


@torch.no_grad()
def _start_at_the_share(reranker: Reranker, queries: RerankQueries) -> None:
    """Sets the bias of each goal so that its mean log-odds are those of its share of hits."""
    assert reranker.goals is not None
    share_A = (_goals(queries)[queries.lists.rows_BK > 0].float() * _weights(queries)[:, None]).mean(0)
    mean_A = (_log_odds(reranker, queries) * _weights(queries)[:, None]).mean(0)
    reranker.goals.bias_A.add_(share_A.clamp(LEAST_SHARE, 1 - LEAST_SHARE).logit() - mean_A)


def goals_without_events(names: Sequence[str], *parts: RerankQueries) -> list[str]:
    """The goals of which one of the parts has no event."""
    return [name for a, name in enumerate(names) if not all(_goals(part)[..., a].any() for part in parts)]


def _goals(queries: RerankQueries) -> Tensor:
    assert queries.goals_BKA is not None, "queries to fit goals on come with their goals"
    return queries.goals_BKA


def _loss(reranker: Reranker, queries: RerankQueries) -> Tensor:
    assert reranker.goals is not None
    with torch.no_grad():
        inputs_BKW = reranker.goal_inputs(queries.lists)
    there_BK = queries.lists.rows_BK > 0
    log_odds_NA, hit_NA = reranker.goals.uncalibrated(inputs_BKW)[there_BK], _goals(queries)[there_BK].float()
    return functional.binary_cross_entropy_with_logits(log_odds_NA, hit_NA, _weights(queries)[:, None])


def _weights(queries: RerankQueries) -> Tensor:
    """float32 [N]: with which all users count alike, with a mean of 1."""
    there_BK = queries.lists.rows_BK > 0
    weight_N = queries.user_weights()[:, None].expand(there_BK.shape)[there_BK]
    return weight_N / weight_N.mean()


@torch.no_grad()
def _log_odds(reranker: Reranker, queries: RerankQueries) -> Tensor:
    """Log-odds before calibration, float32 [N, A]."""
    assert reranker.goals is not None
    parts = []
    for at in torch.arange(len(queries)).split(reranker.config.batch_size):
        lists = queries.lists[at]
        parts.append(reranker.goals.uncalibrated(reranker.goal_inputs(lists))[lists.rows_BK > 0])
    return torch.cat(parts)


def _entropies(reranker: Reranker, queries: RerankQueries) -> Tensor:
    """Cross-entropy of each goal after calibration, float32 [A], in nats."""
    assert reranker.goals is not None
    slope_A, bias_A = reranker.goals.calibration_A2.unbind(-1)
    hit_NA = _goals(queries)[queries.lists.rows_BK > 0].float()
    log_odds_NA = slope_A * _log_odds(reranker, queries) + bias_A
    loss_NA = functional.binary_cross_entropy_with_logits(log_odds_NA, hit_NA, reduction="none")
    return (loss_NA * _weights(queries)[:, None]).mean(0)


def _entropies_of_the_share(queries: RerankQueries) -> Tensor:
    """Cross-entropy of each goal if its share of hits were the probability of all, float32 [A]; NaN without hits."""
    share_A = (_goals(queries)[queries.lists.rows_BK > 0].float() * _weights(queries)[:, None]).mean(0)
    entropy_A = functional.binary_cross_entropy(share_A, share_A, reduction="none")
    return torch.where(entropy_A > 0, entropy_A, torch.nan)


@torch.no_grad()
def _calibrate(reranker: Reranker, heads: GoalHeads, train: RerankQueries, calibrating: RerankQueries) -> None:
    """Fits slope and bias of each goal (Platt scaling); goals without events get a constant instead."""
    there_BK = calibrating.lists.rows_BK > 0
    hit_NA, weight_N, log_odds_NA = (
        _goals(calibrating)[there_BK],
        _weights(calibrating),
        _log_odds(reranker, calibrating),
    )
    without = goals_without_events(heads.names, train, calibrating)
    for a, name in enumerate(heads.names):
        if name in without:
            share = (hit_NA[:, a].sum() + 0.5) / (len(hit_NA) + 1)
            heads.calibration_A2[a] = torch.stack([torch.zeros(()), share.logit()])
        else:
            with torch.enable_grad():
                heads.calibration_A2[a] = platt(log_odds_NA[:, a], hit_NA[:, a], weight_N)

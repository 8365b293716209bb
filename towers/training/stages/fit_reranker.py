"""Fits the re-ranker to the candidates that retrieval returns for held-out queries, and to which of them are relevant.

Shape legend: B queries, K candidates, F signals.
"""

import copy

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from towers.evaluation.metrics import per_query
from towers.reranking.calibration import platt
from towers.reranking.candidate_lists import CandidateLists
from towers.reranking.reranker import Reranker

METRIC = "ndcg@10"
"""The metric by which the best epoch is chosen."""


def fit_reranker(reranker: Reranker, lists: CandidateLists, hit_BK: Tensor, seed: int) -> dict[str, float]:
    """Fits the re-ranker in place, in three stages.

    First the linear part by L-BFGS with a listwise loss. Then everything by Adam with a listwise and a pointwise loss;
    the epoch that is best on the held-out queries is kept, which may be the linear start. Last the calibration, on the
    held-out queries.

    Args:
        lists: the candidates that retrieval returned for the queries.
        hit_BK: bool, whether the candidate is relevant.
        seed: decides which queries are held out, their order in each epoch, and dropout.

    Returns:
        nDCG@10 of the held-out queries in the order of retrieval ("retrieval"), after the linear stage ("linear") and
        after the deep one ("deep"). Empty where there are no hits to fit to; the re-ranker is then unchanged.
    """
    generator = torch.Generator().manual_seed(seed)
    kept = torch.randperm(len(lists), generator=generator)[: reranker.config.max_queries]
    num_held_out = max(round(reranker.config.held_out * len(kept)), 1)
    train, held_out = kept[num_held_out:], kept[:num_held_out]
    if not (len(train) and hit_BK[train].any() and hit_BK[held_out].any()):
        return {}
    found = {"retrieval": _ndcg(lists[held_out].score_BK, lists[held_out], hit_BK[held_out])}
    _fit_linear(reranker, lists[train], hit_BK[train])
    found["linear"] = _measure(reranker, lists[held_out], hit_BK[held_out])
    if reranker.deep is not None:
        found["deep"] = _fit_deep(reranker, lists, hit_BK, train, held_out, generator)
    _calibrate(reranker, lists[held_out], hit_BK[held_out])
    return found


def too_few_hits(hit_BK: Tensor, num_users: int) -> str:
    """Why `fit_reranker` has left the re-ranker as it was, with the numbers that decide it.

    Args:
        hit_BK: bool, whether the candidate is relevant, for each query that it was given.
        num_users: users with validation items that are new to them; to some of them the towers may be unable to
            recommend.
    """
    return (
        f"the validation part has {num_users:,} users with items that are new to them, the towers know {len(hit_BK):,}"
        f" of these, and retrieve such an item for {int(hit_BK.any(1).sum()):,}: too few to fit on some and to choose"
        " the epoch on others; a larger data.split.validation_share gives more"
    )


def listwise(score_BK: Tensor, hit_BK: Tensor, missing_BK: Tensor) -> Tensor:
    """Minus the mean over hits of log softmax_k(score_bk), in nats: ListNet with binary relevance (Cao et al. 2007).

    Args:
        score_BK: float32.
        hit_BK: bool, whether the candidate is relevant; at least one is.
        missing_BK: bool, places without a candidate, which are left out of the softmax.
    """
    return -torch.log_softmax(score_BK.masked_fill(missing_BK, -torch.inf), dim=1)[hit_BK].mean()


def _fit_linear(reranker: Reranker, lists: CandidateLists, hit_BK: Tensor) -> None:
    """Fits the weights of the signals, on the queries with a hit."""
    useful = hit_BK.any(1)
    lists, hit_BK = lists[useful], hit_BK[useful]
    with torch.no_grad():
        signals_BKF = reranker.signals(lists)
    optimizer = torch.optim.LBFGS([reranker.weight], max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        loss = listwise(signals_BKF @ reranker.weight, hit_BK, lists.rows_BK == 0)
        loss.backward()
        return loss.item()

    optimizer.step(closure)


def _fit_deep(
    reranker: Reranker,
    lists: CandidateLists,
    hit_BK: Tensor,
    train: Tensor,
    held_out: Tensor,
    generator: torch.Generator,
) -> float:
    """Trains all parts and keeps the weights of the best epoch; returns its nDCG@10 on the held-out queries."""
    config = reranker.config
    optimizer = torch.optim.Adam(reranker.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    best, kept = _measure(reranker, lists[held_out], hit_BK[held_out]), copy.deepcopy(reranker.state_dict())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator.initial_seed()))  # dropout draws from the global generator
        for _ in range(config.epochs):
            reranker.train()
            shuffled = train[torch.randperm(len(train), generator=generator)]
            for at in shuffled.split(config.batch_size):
                if hit_BK[at].any():
                    optimizer.zero_grad()
                    _loss(reranker, lists[at], hit_BK[at]).backward()
                    optimizer.step()
            value = _measure(reranker.eval(), lists[held_out], hit_BK[held_out])
            if value > best:
                best, kept = value, copy.deepcopy(reranker.state_dict())
    reranker.load_state_dict(kept)
    reranker.eval()
    return best


def _loss(reranker: Reranker, lists: CandidateLists, hit_BK: Tensor) -> Tensor:
    """Listwise loss for the order plus cross-entropy by candidate for the level, as in JRC (Sheng et al. 2023)."""
    score_BK, missing_BK = reranker.uncalibrated(lists), lists.rows_BK == 0
    level = functional.binary_cross_entropy_with_logits(score_BK[~missing_BK], hit_BK[~missing_BK].float())
    return listwise(score_BK, hit_BK, missing_BK) + level


@torch.no_grad()
def _calibrate(reranker: Reranker, lists: CandidateLists, hit_BK: Tensor) -> None:
    """Fits slope and bias of the log-odds (Platt scaling)."""
    there_BK = lists.rows_BK > 0
    score_BK = reranker.uncalibrated(lists)
    with torch.enable_grad():
        reranker.calibration.copy_(platt(score_BK[there_BK], hit_BK[there_BK]))


@torch.no_grad()
def _measure(reranker: Reranker, lists: CandidateLists, hit_BK: Tensor) -> float:
    """nDCG@10 of the re-ranker's order."""
    return _ndcg(reranker.uncalibrated(lists), lists, hit_BK)


def _ndcg(score_BK: Tensor, lists: CandidateLists, hit_BK: Tensor) -> float:
    """Mean nDCG@10 of the queries with a hit, as if their candidates' hits were all their relevant items."""
    useful = hit_BK.any(1)
    score_BK = score_BK.masked_fill(lists.rows_BK == 0, -torch.inf)[useful]
    ranked_BK = hit_BK[useful].gather(1, score_BK.argsort(dim=1, descending=True, stable=True)).numpy()
    return float(np.mean(per_query(ranked_BK, ranked_BK.sum(1), [10])[METRIC]))

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
from towers.reranking.queries import RerankQueries
from towers.reranking.reranker import Reranker
from towers.training.epochs.finite import FiniteSteps, NotFinite, check_weights, fitting_reranker
from towers.training.stages.fit_goals import fit_goals

METRIC = "ndcg@10"
"""The metric by which the best epoch is chosen."""

GOAL = "goal "
"""What precedes the name of a goal among the values that `fit_reranker` returns."""


def fit_reranker(reranker: Reranker, queries: RerankQueries, seed: int) -> dict[str, float]:
    """Fits the re-ranker in place, in three stages, each on the queries of other users (`rerank.held_out`).

    First, on the training users, the linear part by L-BFGS with a listwise loss. Then everything by Adam with a
    listwise and a pointwise loss; the epoch that is best on the choosing users is kept, which may be the linear start.
    Both look for the items that were taken in the query's context; what its user took in others is left out. Last the
    calibration, on the calibration users, who have chosen neither weights nor epoch: there a candidate counts as taken
    whichever interaction took it, and all users count alike. The heads of goals follow, if there are any
    (towers/training/stages/fit_goals.py).

    Without goals, a re-ranker that orders the choosing users' candidates worse than retrieval does after all stages is
    left unfitted, so that the order of retrieval stays.

    Args:
        seed: decides which users are held out, the order of the queries in each epoch, and dropout.

    Returns:
        nDCG@10 of the choosing users' queries in the order of retrieval ("retrieval"), after the linear stage
        ("linear") and after the deep one ("deep"). If there are goals, what `fit_goals` returns follows, each name
        after GOAL. Empty where one of the three parts has no hits to fit to; the re-ranker is then unchanged.

    Raises:
        NotFinite: a loss, a gradient, a weight or a score is not finite. The message names the epoch and the cure.
    """
    generator, half = torch.Generator().manual_seed(seed), reranker.config.held_out / 2
    choosing, calibrating, train = (queries[at] for at in queries.split_users((half, half), generator))
    if not (len(train) and all(part.hit_BK.any() for part in (train, choosing, calibrating))):
        return {}
    start = copy.deepcopy(reranker.state_dict())
    by_query, chosen_by = train.without_other_hits(), choosing.without_other_hits()
    found = {"retrieval": _ndcg(chosen_by.lists.score_BK, chosen_by)}
    _fit_linear(reranker, by_query)
    found["linear"] = _measure(reranker, chosen_by)
    if reranker.deep is not None:
        found["deep"] = _fit_deep(reranker, by_query, chosen_by, generator)
    if reranker.goals is None and found.get("deep", found["linear"]) < found["retrieval"]:
        reranker.load_state_dict(start)
        return found
    with fitting_reranker("re-ranker, calibration", reranker.config):
        _calibrate(reranker, calibrating)
    if reranker.goals is not None:
        found |= {f"{GOAL}{name}": v for name, v in fit_goals(reranker, train, choosing, calibrating, seed).items()}
    return found


def too_few_hits(queries: RerankQueries, num_users: int, split: str) -> str:
    """Why `fit_reranker` has left the re-ranker as it was, with the numbers that decide it.

    Args:
        queries: those that it was given.
        num_users: users with items in the split that are new to them; the towers may be unable to place some of them.
    """
    found = queries.user_B[queries.hit_BK.any(1)].unique()
    return (
        f"the {split} part has {num_users:,} users with items that are new to them, the towers place"
        f" {len(queries.user_B.unique()):,} of these, and retrieve such an item for {len(found):,}: too few to fit on"
        " some, to choose the epoch on others and to calibrate on a third part; a larger"
        f" data.split.{split}_share gives more"
    )


def listwise(score_BK: Tensor, hit_BK: Tensor, missing_BK: Tensor, copies_BK: Tensor | None = None) -> Tensor:
    """Minus the mean over hits of log softmax_k(score_bk), in nats: ListNet with binary relevance (Cao et al. 2007).

    Args:
        score_BK: float32.
        hit_BK: bool, whether the candidate is relevant; at least one is.
        missing_BK: bool, places without a candidate, which are left out of the softmax.
        copies_BK: float32, as how many candidates each counts in the softmax; None means once.
    """
    score_BK = score_BK if copies_BK is None else score_BK + copies_BK.log()
    return -torch.log_softmax(score_BK.masked_fill(missing_BK, -torch.inf), dim=1)[hit_BK].mean()


def _fit_linear(reranker: Reranker, queries: RerankQueries) -> None:
    """Fits the weights of the signals, on the queries with a hit."""
    queries = queries[queries.hit_BK.any(1)]
    lists, hit_BK, copies_BK = queries.lists, queries.hit_BK, queries.copies()
    with torch.no_grad():
        signals_BKF = reranker.signals(lists)
    optimizer = torch.optim.LBFGS([reranker.weight], max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        loss = listwise(signals_BKF @ reranker.weight, hit_BK, lists.rows_BK == 0, copies_BK)
        loss.backward()
        return loss.item()

    optimizer.step(closure)


def _fit_deep(reranker: Reranker, train: RerankQueries, choosing: RerankQueries, generator: torch.Generator) -> float:
    """Trains all parts and keeps the weights of the best epoch; returns its nDCG@10 on the choosing users' queries."""
    config = reranker.config
    optimizer = torch.optim.Adam(reranker.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    best, kept = _measure(reranker, choosing), copy.deepcopy(reranker.state_dict())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator.initial_seed()))  # dropout draws from the global generator
        for epoch in range(1, config.epochs + 1):
            with fitting_reranker(f"re-ranker, epoch {epoch}", config):
                _epoch(reranker, train, optimizer, generator)
                value = _measure(reranker.eval(), choosing)
            if value > best:
                best, kept = value, copy.deepcopy(reranker.state_dict())
    reranker.load_state_dict(kept)
    reranker.eval()
    return best


def _epoch(
    reranker: Reranker, train: RerankQueries, optimizer: torch.optim.Optimizer, generator: torch.Generator
) -> None:
    """Trains on each query once; raises NotFinite at the first step that is not finite."""
    reranker.train()
    steps = FiniteSteps(reranker, train.hit_BK.device)
    for at in torch.randperm(len(train), generator=generator).split(reranker.config.batch_size):
        if train.hit_BK[at].any():
            optimizer.zero_grad()
            loss = _loss(reranker, train[at])
            loss.backward()
            steps.watch(loss)
            optimizer.step()
    check_weights(reranker)


def _loss(reranker: Reranker, queries: RerankQueries) -> Tensor:
    """Listwise loss for the order plus cross-entropy by candidate for the level, as in JRC (Sheng et al. 2023).

    In both, an explicit negative of the user counts as several candidates (`RerankQueries.copies`).
    """
    score_BK, missing_BK = reranker.uncalibrated(queries.lists), queries.lists.rows_BK == 0
    hit_BK, copies_BK = queries.hit_BK, queries.copies()
    weight_N = None if copies_BK is None else copies_BK[~missing_BK]
    level = functional.binary_cross_entropy_with_logits(score_BK[~missing_BK], hit_BK[~missing_BK].float(), weight_N)
    return listwise(score_BK, hit_BK, missing_BK, copies_BK) + level


@torch.no_grad()
def _calibrate(reranker: Reranker, queries: RerankQueries) -> None:
    """Fits slope and bias of the log-odds (Platt scaling)."""
    there_BK = queries.lists.rows_BK > 0
    score_BK = reranker.uncalibrated(queries.lists)
    weight_BK = queries.user_weights()[:, None].expand_as(score_BK)
    calibration = platt(score_BK[there_BK], queries.taken_BK[there_BK], weight_BK[there_BK])
    if not (calibration.isfinite().all() and calibration[0] > 0):
        raise NotFinite(f"the scores are so large that float32 has no slope for them (it is {calibration[0].item():g})")
    reranker.calibration.copy_(calibration)


@torch.no_grad()
def _measure(reranker: Reranker, queries: RerankQueries) -> float:
    """nDCG@10 of the re-ranker's order; raises NotFinite where there is no order, because a score is not finite."""
    score_BK = reranker.uncalibrated(queries.lists)
    if not score_BK[queries.lists.rows_BK > 0].isfinite().all():
        raise NotFinite("a score of the re-ranker on the queries that choose its epoch is not finite")
    return _ndcg(score_BK, queries)


def _ndcg(score_BK: Tensor, queries: RerankQueries) -> float:
    """Mean nDCG@10 of the queries with a hit, as if their candidates' hits were all their relevant items."""
    useful = queries.hit_BK.any(1)
    score_BK = score_BK.masked_fill(queries.lists.rows_BK == 0, -torch.inf)[useful]
    ranked_BK = queries.hit_BK[useful].gather(1, score_BK.argsort(dim=1, descending=True, stable=True)).numpy()
    return float(np.mean(per_query(ranked_BK, ranked_BK.sum(1), [10])[METRIC]))

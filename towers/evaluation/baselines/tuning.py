"""Chooses the settings of tuned baselines on the validation part, and ranks with the best, fitted to all that is known.

Shape legend: Q queries, I items (row 0 = unknown), D dimension.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, cached_property, partial
from typing import TypeVar

import numpy as np
import torch

from data.dataset.prepared import PreparedDataset
from data.dataset.split import VALIDATION
from data.sequences.histories import Sequences
from towers.evaluation.baselines.ease import MAX_ITEMS, ease
from towers.evaluation.baselines.ials import AlsSettings, distinct, fit_items, solve
from towers.evaluation.baselines.item_filter import POPULARITY_EXPONENT, fitted_on, item_filter, rank_by_filter
from towers.evaluation.config import EvaluateConfig
from towers.evaluation.metrics import hits, per_query
from towers.evaluation.queries import HeldOut
from towers.evaluation.ranking import QueryVectors, Ranking, retrieve
from towers.model.build import interaction_counts
from towers.model.config import FittedSplits
from towers.model.tie_order import TieOrder

ALS_START = AlsSettings(unobserved=0.1, regularisation=0.003)


def unobserved_weights(of: AlsSettings) -> list[AlsSettings]:
    """The settings with each of the weights of unobserved pairs, ascending."""
    return [replace(of, unobserved=weight) for weight in (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)]


def regularisations(of: AlsSettings) -> list[AlsSettings]:
    """The settings with each of the weights of lengths, ascending."""
    return [replace(of, regularisation=weight) for weight in (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)]


def dimensions(of: AlsSettings) -> list[AlsSettings]:
    """The settings with each of the dimensions, ascending."""
    return [replace(of, dim=dim) for dim in (64, 128, 256)]


ALS_STEPS = (unobserved_weights, regularisations, unobserved_weights, regularisations, dimensions)
"""What is varied, one after the other, up or down from the best settings so far as long as that is better."""

REGULARISATIONS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
"""Values of EASE that are tried, from EASE_START on up or down as long as that is better: small logs want low ones."""

EASE_START = 30.0

EXPONENTS = (0.0, 0.125, 0.25, 0.375, 0.5)
"""How much the item-item filter favours popular items: values that are tried."""

S = TypeVar("S")
Fit = Callable[[S, Sequences, HeldOut, np.ndarray], Ranking]
"""Ranks for queries with some settings, fitted to sequences; the last argument counts interactions by item."""


def _climb(choices: Sequence[S], start: S, value_of: Callable[[S], float]) -> S:
    """The choice that is reached from `start` over neighbours as long as each is better than the one before."""
    at = choices.index(start)
    for step in (1, -1):
        while 0 <= at + step < len(choices) and value_of(choices[at + step]) > value_of(choices[at]):
            at += step
    return choices[at]


class Tuner:
    """Tunes baselines on one dataset.

    Args:
        held_out: the queries that the final rankings are for.
        fit_on: the splits that the towers were fitted on; baselines with the chosen settings are fitted to the same.
    """

    def __init__(
        self,
        dataset: PreparedDataset,
        held_out: HeldOut,
        fit_on: FittedSplits,
        config: EvaluateConfig,
        ties: TieOrder | None,
        popular_I: np.ndarray,
    ) -> None:
        self._dataset, self._held_out, self._fit_on, self._config, self._ties = dataset, held_out, fit_on, config, ties
        self._popular_I = popular_I
        self._every = 1  # the item-item filter was fitted on every n-th user

    @cached_property
    def _validation(self) -> HeldOut:
        return HeldOut.of(self._dataset, VALIDATION, self._config.seen, most=self._config.max_users)

    @cached_property
    def _train(self) -> Sequences:
        return self._dataset.sequences(*FittedSplits.train.splits)

    def ials(self) -> tuple[Ranking, str]:
        """The ranking of iALS, and the settings that were chosen, in words."""
        value_of = cache(partial(self._value, "iALS", self._rank_ials))
        best = ALS_START
        for settings_beside in ALS_STEPS:
            best = _climb(settings_beside(best), best, value_of)
        return self._final(self._rank_ials, best), f"iALS, {self._how}: {best}"

    def ease(self) -> tuple[Ranking | None, str]:
        """The ranking of EASE, and what was chosen; None with the reason where the catalogue is too large."""
        if self._dataset.items.num_rows > MAX_ITEMS:
            return None, f"no EASE: it inverts a matrix of all pairs of items, and there are more than {MAX_ITEMS:,}"
        best = _climb(REGULARISATIONS, EASE_START, cache(partial(self._value, "EASE", self._rank_ease)))
        return self._final(self._rank_ease, best), f"EASE, {self._how}: regularisation {best:g}"

    def item_item_tuned(self) -> tuple[Ranking, str]:
        """The ranking of the item-item filter, and the exponent that was chosen."""
        default_first = sorted(EXPONENTS, key=lambda exponent: exponent != POPULARITY_EXPONENT)
        best = max(default_first, key=partial(self._value, "item-item filter", self._rank_filter))
        ranking = self._final(self._rank_filter, best)
        of_some = f", {fitted_on(self._every)}" if self._every > 1 else ""
        return ranking, f"item-item filter, {self._how}: popularity exponent {best:g}{of_some}"

    @property
    def _how(self) -> str:
        """How the settings came to be, in words."""
        return "tuned" if len(self._validation.user_rows_Q) else "not tuned, for want of a validation part"

    def _value(self, baseline: str, fit: Fit[S], settings: S) -> float:
        """nDCG at evaluate.k on the validation part, printed; 0 if there is none, so that the first settings stay."""
        if not len(self._validation.user_rows_Q):
            return 0.0
        counts_I = interaction_counts(self._dataset.items, FittedSplits.train)
        ranking = fit(settings, self._train, self._validation, counts_I)
        hit_QK = hits(ranking.rows_QK, self._validation.relevant, len(counts_I))
        metric = f"ndcg@{self._config.k}"
        value = float(per_query(hit_QK, self._validation.num_relevant_Q, [self._config.k])[metric].mean())
        print(f"baselines: {baseline}, {settings}: {metric} {value:.4f} on the validation part", flush=True)
        return value

    def _final(self, fit: Fit[S], settings: S) -> Ranking:
        return fit(settings, self._dataset.sequences(*self._fit_on.splits), self._held_out, self._popular_I)

    def _rank_ials(self, settings: AlsSettings, fitted: Sequences, held_out: HeldOut, popular_I: np.ndarray) -> Ranking:
        item_ID = fit_items(fitted, len(popular_I), settings)
        rows_Q = held_out.user_rows_Q
        user_UD = solve(distinct(held_out.history, len(popular_I)), item_ID, settings)
        known_Q = torch.from_numpy(held_out.history.lengths_of(rows_Q) > 0)
        queries = QueryVectors(user_UD[torch.from_numpy(rows_Q.astype(np.int64))], known_Q)
        return retrieve(queries, held_out, popular_I, item_ID, self._config.batch_size, ties=self._ties)

    def _rank_ease(self, regularisation: float, fitted: Sequences, held_out: HeldOut, popular_I: np.ndarray) -> Ranking:
        weights_II = ease(fitted, len(popular_I), regularisation)
        return rank_by_filter(weights_II, held_out, popular_I, self._config.batch_size, ties=self._ties)

    def _rank_filter(self, exponent: float, fitted: Sequences, held_out: HeldOut, popular_I: np.ndarray) -> Ranking:
        weights_II, self._every = item_filter(fitted, len(popular_I), exponent)
        return rank_by_filter(weights_II, held_out, popular_I, self._config.batch_size, ties=self._ties)

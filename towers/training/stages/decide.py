"""What a training decides on its validation part: how new items and users are placed, and what is popular.

Where there is no such part, or the towers are fitted on it too, neutral values stand in for what would be decided.

Shape legend: I items (row 0 = unknown).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from data.dataset.prepared import PreparedDataset
from data.dataset.split import VALIDATION
from towers.evaluation.decisions.cold_items import ColdItemLength, decide_length, undecided
from towers.evaluation.decisions.placement import UNDECIDED, FeaturePlacement, decide_placement
from towers.evaluation.decisions.popular_items import (
    BY_ALL,
    RECENT_SHARE,
    PopularItems,
    decide_popular_items,
    recent_of,
)
from towers.evaluation.intervals import RESAMPLES
from towers.evaluation.queries import HeldOut
from towers.evaluation.ranking import embed
from towers.model.build import interaction_counts
from towers.model.config import FittedSplits
from towers.model.tie_order import TieOrder, popularity
from towers.training.config import Recipe
from towers.training.stages.fit_towers import FittedTowers

DECIDED = ("cold_items", "placement", "popular_items")
"""What is decided, by its names in a checkpoint's manifest."""

FITTED_ON_IT = "the towers are fitted on the validation part, which would decide it"
"""Why nothing is decided with `train.fit_on=train_validation`."""

UNDECIDED_NOTE = (
    "fitted on the validation part too, so that nothing was decided on it: new items have vectors of full length, users"
    " without training data get popular items, and these are popular by all interactions; with train.fit_on=all the"
    " decisions of the training before it are taken over"
)
"""What a report says then: it is measured otherwise than the validated trainings of its recipe."""


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """What was decided, and by which numbers.

    Attributes:
        recent_I: int64 [I], interactions of each item among the latest ones; None where all count for what is popular.
    """

    cold_items: ColdItemLength
    placement: FeaturePlacement
    popular_items: PopularItems
    recent_I: np.ndarray | None = None

    @classmethod
    def neutral(cls, counts_I: np.ndarray, fit_on: FittedSplits) -> "Decisions":
        """What stands in where nothing is decided."""
        cold_items, placement, popular_items = undecided(counts_I), UNDECIDED, BY_ALL
        if fit_on is FittedSplits.train_validation:
            cold_items = replace(cold_items, reason=FITTED_ON_IT)
            placement = replace(placement, reason=FITTED_ON_IT)
            popular_items = replace(popular_items, reason=FITTED_ON_IT)
        return cls(cold_items=cold_items, placement=placement, popular_items=popular_items)

    def lines(self) -> Iterator[str]:
        """The decisions, a line each."""
        yield f"items without training data: {self.cold_items}"
        yield f"users without training data: {self.placement}"
        yield f"popular items: {self.popular_items}"

    def as_json(self) -> dict[str, Any]:
        """The entries of a checkpoint's manifest."""
        all_ = (self.cold_items, self.placement, self.popular_items)
        return dict(zip(DECIDED, (of.as_json() for of in all_), strict=True))


def decide(towers: FittedTowers, dataset: PreparedDataset, config: Recipe, ties: TieOrder) -> Decisions:
    """Decides all of it on the validation part, and sets the model so.

    It does so by nDCG at the cut-off of `train.monitor`, with the default number of resamples: what the name of the
    checkpoint stands for decides, and not `evaluate.k` or `evaluate.resamples`, which a later measurement may change.
    """
    most, beside = config.train.validation_users, config.model.history_columns
    held_out = HeldOut.of(dataset, VALIDATION, config.evaluate.seen, beside, most)
    counts_I = interaction_counts(dataset.items, towers.fit_on)
    k, batch_size, resamples = config.train.monitored_at, config.evaluate.batch_size, RESAMPLES
    latest_I = recent_of(dataset, towers.fit_on, RECENT_SHARE)
    popular = decide_popular_items(held_out, counts_I, latest_I, k, batch_size, resamples, ties)
    recent_I = None if popular.recent_share is None else latest_I
    popularity_I = popularity(counts_I, recent_I)
    queries = embed(towers.model, held_out, batch_size)
    cold_items = decide_length(queries, held_out, counts_I, towers.item_vectors_ID, k, batch_size, resamples, ties)
    towers.set_cold_length(cold_items.length)
    placement = decide_placement(
        towers.model, queries, held_out, popularity_I, towers.item_vectors_ID, k, batch_size, resamples, ties
    )
    towers.model.places_by_features = placement.by_features
    return Decisions(cold_items=cold_items, placement=placement, popular_items=popular, recent_I=recent_I)


def has_unfitted(dataset: PreparedDataset, fit_on: FittedSplits) -> bool:
    """Whether there are items, or users, without training data, whom the decisions are about."""
    return any((interaction_counts(of, fit_on)[1:] == 0).any() for of in (dataset.items, dataset.users))

"""Configuration of an evaluation: cut-offs, baselines, bootstrap resamples and published results."""

from dataclasses import dataclass, field
from enum import Enum

from data.artifacts.bounds import bounded, check_bounds
from data.artifacts.errors import ConfigError
from data.dataset.split import SplitKind
from towers.evaluation.intervals import LEAST_RESAMPLES, RESAMPLES

RANKS = 100
"""Length of a ranking: the largest cut-off that can be measured."""


class Baseline(Enum):
    """Recommenders that are measured beside the towers, in the same run."""

    popularity = "popularity"  # most interactions among those fitted on
    recent_popularity = "recent popularity"  # most interactions in the latest share of them; needs a log with times
    item_item = "item-item filter"  # one hop over the interaction graph
    item_item_tuned = "item-item filter, tuned"  # the same, its lean to popular items chosen on the validation part
    ease = "EASE, tuned"  # a linear model in closed form, for catalogues of up to 12,000 items
    ials = "iALS, tuned"  # matrix factorisation by alternating least squares
    own_items = "own items"  # what the user has had most often; only where seen items are kept


UNTUNED = (Baseline.popularity, Baseline.recent_popularity, Baseline.item_item, Baseline.own_items)
"""The baselines that take seconds, and that are measured unless the config says otherwise."""


class SeenItems(Enum):
    """What becomes of the items that a user has seen."""

    mask = "mask"  # they are no candidates, and a held-out interaction with one is not relevant
    mask_200 = "mask_200"  # so are those of the latest 200 alone, as in HSTU's evaluation; earlier ones are kept
    keep = "keep"  # they are candidates like all others, and relevant where the user comes back to them


LATEST = 200
"""How many of a user's items `SeenItems.mask_200` masks, the latest ones: HSTU's are cut off there (Zhai et al. 2024,
"Actions Speak Louder than Words", its public code for MovieLens)."""

PUBLISHED_COUNTS = ("users", "items", "raw_interactions", "train", "validation", "test")
"""Counts by which a dataset is known to be the one of published results."""


@dataclass(kw_only=True, slots=True)
class PublishedResult:
    """A result published by others on the same data and split; reports print it beside what is measured.

    Attributes:
        name: of the published model.
        source: the publication.
        metrics: values under our metric names, such as {recall@20: 0.19}.
    """

    name: str
    source: str
    metrics: dict[str, float] = bounded()


@dataclass(kw_only=True, slots=True)
class EvaluateConfig:
    """What an evaluation measures and reports.

    Attributes:
        ks: cut-offs (numbers of ranks) at which each metric is computed, between 1 and 100.
        k: the one of these cut-offs that tables, slices and plots show.
        seen: what becomes of the items that a user has seen: masked, kept where repeated consumption is the task, or
            (mask_200) masked where they are among the user's latest 200.
        batch_size: number of users scored at a time.
        max_users: number of users of the test part on whom all is measured, drawn at random where it has more; the
            report says so, and its intervals are those of a sample of this size. Baselines are tuned on as many users
            of the validation part. Null takes all users.
        baselines: recommenders that are measured beside the towers; by default those that need no tuning.
        recent_share: share of the interactions, the latest ones, that the recent-popularity baseline counts.
        resamples: number of bootstrap resamples per confidence interval, 100 at least.
        published: results of others, printed beside ours where the dataset is theirs.
        published_on: the counts of their dataset, by the names in a prepared dataset's manifest: users, items, and the
            interactions of the splits train, validation and test.
        published_seen: what became of seen items there.
        published_split: by what kind of split they held interactions out, where that is known.
    """

    ks: list[int] = bounded(factory=lambda: [5, 10, 20, 50], at_least=1, at_most=RANKS)
    k: int = bounded(20, at_least=1, at_most=RANKS)
    seen: SeenItems = SeenItems.mask
    batch_size: int = bounded(512, at_least=1)
    max_users: int | None = bounded(None, at_least=1)
    baselines: list[Baseline] = field(default_factory=lambda: list(UNTUNED))
    recent_share: float = bounded(0.1, above=0, at_most=1)
    resamples: int = bounded(RESAMPLES, at_least=LEAST_RESAMPLES)
    published: list[PublishedResult] = field(default_factory=list)
    published_on: dict[str, int] = bounded(factory=dict, at_least=0, below=2**63)
    published_seen: SeenItems = SeenItems.mask
    published_split: SplitKind | None = None

    def __post_init__(self) -> None:
        check_bounds(self, "evaluate")
        if not self.ks:
            raise ConfigError(f"evaluate.ks: {list(self.ks)} must be cut-offs between 1 and {RANKS}")
        if unknown := set(self.published_on) - set(PUBLISHED_COUNTS):
            raise ConfigError(
                f"evaluate.published_on: {', '.join(sorted(unknown))} is not counted; it may have"
                f" {', '.join(PUBLISHED_COUNTS)}"
            )
        if self.k not in self.ks:
            raise ConfigError(f"evaluate.k: {self.k} must be one of evaluate.ks {list(self.ks)}; add it there")

"""The source of synthetic logs, with planted tastes that a good model must find. It needs no data."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from data.artifacts.bounds import bounded, check_bounds
from data.artifacts.errors import ConfigError
from data.sources.source import RawLog, SourceConfig, in_blocks, raw_block, source
from data.sources.synthetic_values.features import (
    CONTEXT,
    ITEM_FEATURES,
    LENGTHS,
    USER_FEATURES,
    dayparts,
    item_table,
    user_table,
)
from data.sources.synthetic_values.titles import number_within

END_S = 1_767_225_600  # 2026-01-01 UTC, the end of the timeline: a fixed one gives the same log on every day
DAY_S = 86_400
LATE = 0.92  # cold users and items that interact at all first occur after this share of the timeline
LAST_START = 0.97  # and before this share of it
LAST_NORMAL_START = 0.6  # all other users first occur before this share of the timeline
FAVOURITE_SHARE = 0.65  # share of the favourite taste in the interactions of a user with two tastes
DRAWS_PER_INTERACTION = 4  # spare draws replace items that a user had before, and those drawn before their start


@source("synthetic")
@dataclass(kw_only=True, slots=True)
class SyntheticSource(SourceConfig):
    """A synthetic log. Half of the cold users and items never interact, the others only at the end of the timeline.

    Attributes:
        num_users: number of users.
        num_items: number of items.
        num_clusters: number of tastes; an item has one, a user has one or two.
        interactions_per_user: the mean; users differ widely.
        noise_share: share of the interactions that are with an item of any taste.
        daypart_share: share of the interactions that are in the part of the day that goes with the item's length.
        popularity_skew: exponent of Zipf's law within a taste; with 0, its items are equally popular.
        cold_user_share: share of the users that are cold.
        cold_item_share: share of the items that are cold.
        days: length of the timeline.
        seed: the seed of all random numbers.
    """

    num_users: int = bounded(2_000, at_least=1)
    num_items: int = bounded(1_000, at_least=1)
    num_clusters: int = bounded(24, at_least=1)
    interactions_per_user: float = bounded(30.0, at_least=1)
    noise_share: float = bounded(0.15, at_least=0, at_most=0.9)
    daypart_share: float = bounded(0.6, at_least=0, at_most=0.9)
    popularity_skew: float = bounded(0.5, at_least=0)
    cold_user_share: float = bounded(0.05, at_least=0, at_most=0.9)
    cold_item_share: float = bounded(0.05, at_least=0, at_most=0.9)
    days: int = bounded(365, at_least=1)
    seed: int = bounded(0, at_least=0)

    def __post_init__(self) -> None:
        check_bounds(self, "data.source")
        if self.num_clusters > self.num_items:
            raise ConfigError(
                f"data.source.num_clusters: {self.num_clusters} must not exceed num_items {self.num_items}"
            )
        if self.interactions_per_user > self.num_items / 2:
            raise ConfigError(
                f"data.source.interactions_per_user: {self.interactions_per_user} must lie between 1 and num_items / 2"
            )
        if self.popularity_skew < 0:
            raise ConfigError(f"data.source.popularity_skew: {self.popularity_skew} must not be negative")

    def read(self) -> RawLog:
        planted = plant(self)
        return RawLog(
            in_blocks(planted.interactions),
            planted.users,
            planted.items,
            USER_FEATURES,
            ITEM_FEATURES,
            "the synthetic log",
            CONTEXT,
        )

    def files(self) -> list[str]:
        return []


@dataclass(frozen=True, slots=True)
class Planted:
    """A synthetic log, and the planted tastes that it was drawn from. Users and items are in the order of their tables.

    Attributes:
        interactions: the columns of schema.RAW_INTERACTIONS.
        users: the table of users.
        items: the table of items.
        user_clusters: int [num_users, 2], the favourite taste and the second one (for half of the users the same one).
        item_clusters: int [num_items], the taste.
        item_weights: float [num_items], popularity within the taste; 0 if the item never interacts.
        user_start: float [num_users], the share of the timeline before which the user does not occur; inf means never.
        item_start: float [num_items], the same for items.
    """

    interactions: pa.Table
    users: pa.Table
    items: pa.Table
    user_clusters: np.ndarray
    item_clusters: np.ndarray
    item_weights: np.ndarray
    user_start: np.ndarray
    item_start: np.ndarray


def plant(config: SyntheticSource) -> Planted:
    """Draws tastes, features and interactions; equal configs give equal logs."""
    rng, daypart_rng = np.random.default_rng(config.seed), np.random.default_rng([config.seed, 1])
    item_clusters = rng.permutation(np.arange(config.num_items) % config.num_clusters)
    user_clusters = rng.integers(config.num_clusters, size=(config.num_users, 2))
    one_taste = rng.random(config.num_users) < 0.5
    user_clusters[one_taste, 1] = user_clusters[one_taste, 0]
    user_start = _starts(rng, config.num_users, config.cold_user_share, LAST_NORMAL_START)
    item_start = _starts(rng, config.num_items, config.cold_item_share, 0.0)
    item_weights = np.where(np.isfinite(item_start), _popularity(rng, item_clusters, config.popularity_skew), 0.0)
    lengths = daypart_rng.integers(len(LENGTHS), size=config.num_items)
    users, items = user_table(rng, user_clusters[:, 0]), item_table(rng, item_clusters, lengths)
    user, item, time = _draw(rng, config, user_clusters, item_clusters, item_weights, user_start, item_start)
    seconds = END_S - config.days * DAY_S + (time * config.days * DAY_S).astype(np.int64)
    order = np.argsort(seconds, kind="stable")
    interactions = raw_block(
        user_id=users["user_id"].take(user[order]),
        item_id=items["item_id"].take(item[order]),
        time=pa.array(seconds[order]),
        context=[dayparts(daypart_rng, lengths[item[order]], config.daypart_share)],
        first_position=0,
    )
    return Planted(interactions, users, items, user_clusters, item_clusters, item_weights, user_start, item_start)


def _starts(rng: np.random.Generator, num: int, cold_share: float, last_normal_start: float) -> np.ndarray:
    """float [num]: the share of the timeline at which each first occurs; inf for those that never do."""
    starts = rng.random(num) * last_normal_start
    cold = rng.permutation(num)[: round(num * cold_share)]
    never, late = np.array_split(cold, 2)
    starts[never] = np.inf
    starts[late] = rng.uniform(LATE, LAST_START, len(late))
    return starts


def _popularity(rng: np.random.Generator, clusters: np.ndarray, skew: float) -> np.ndarray:
    """float [len(clusters)]: weights by Zipf's law within each taste, with ranks in random order."""
    shuffled = rng.permutation(len(clusters))
    weights = np.empty(len(clusters))
    weights[shuffled] = (1.0 + number_within(clusters[shuffled])) ** -skew
    return weights


def _draw(
    rng: np.random.Generator,
    config: SyntheticSource,
    user_clusters: np.ndarray,
    item_clusters: np.ndarray,
    item_weights: np.ndarray,
    user_start: np.ndarray,
    item_start: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices of users and of items, and times in [0, 1), of the interactions; no user has an item twice."""
    wanted = 1 + rng.poisson(rng.gamma(3.0, (config.interactions_per_user - 1) / 3.0, config.num_users))
    wanted[np.isinf(user_start)] = 0
    user = np.repeat(np.arange(config.num_users), wanted * DRAWS_PER_INTERACTION)
    start = user_start[user]
    time = start + (1.0 - start) * rng.random(len(user))
    second = (rng.random(len(user)) > FAVOURITE_SHARE).astype(np.int64)
    noise = rng.random(len(user)) < config.noise_share
    taste = np.where(noise, rng.integers(config.num_clusters, size=len(user)), user_clusters[user, second])
    item = _draw_items(rng, taste, item_clusters, item_weights)
    there = np.flatnonzero(item_start[item] <= time)
    _, first = np.unique(user[there] * config.num_items + item[there], return_index=True)
    kept = there[np.sort(first)]
    kept = kept[number_within(user[kept]) < wanted[user[kept]]]
    return user[kept], item[kept], time[kept]


def _draw_items(
    rng: np.random.Generator, taste: np.ndarray, item_clusters: np.ndarray, item_weights: np.ndarray
) -> np.ndarray:
    """One item of each of the tastes, drawn by weight: the inverse of the cumulated weights, taste after taste."""
    order = np.argsort(item_clusters, kind="stable")
    ends = np.cumsum(item_weights[order])
    bounds = np.concatenate([[0.0], ends])[np.searchsorted(item_clusters[order], np.arange(taste.max(initial=0) + 2))]
    point = rng.uniform(bounds[taste], bounds[taste + 1])
    items: np.ndarray = order[np.minimum(np.searchsorted(ends, point, side="right"), len(order) - 1)]
    return items

"""Two sets of lists beside each other: what both have, what moved, and where they differ most."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class Place:
    """An item of one list, and where the other list has it.

    Attributes:
        item_id: The item.
        rank: Its rank here, from 1.
        other_rank: Its rank there; None if it is not there.
    """

    item_id: str
    rank: int
    other_rank: int | None


def places(one: Sequence[str], other: Sequence[str]) -> list[Place]:
    """Returns the items of the first list with their ranks in both."""
    ranks = {item_id: rank for rank, item_id in enumerate(other, start=1)}
    return [Place(item_id, rank, ranks.get(item_id)) for rank, item_id in enumerate(one, start=1)]


class KnownItems(NamedTuple):
    """What the release of one side knows of its items; another release may know others.

    Attributes:
        counts: Interactions of each item in its log; 0 for those that are missing.
        num_items: Items of its catalogue.
    """

    counts: Mapping[str, int]
    num_items: int


@dataclass(frozen=True)
class Side:
    """What one side recommends to a sample of users.

    Attributes:
        coverage: Distinct items, as a share of the catalogue of its release.
        popularity: The mean number of interactions of the items in the log of its release, over all places.
        distinct: Distinct items.
    """

    coverage: float
    popularity: float
    distinct: int


@dataclass(frozen=True)
class Compared:
    """Two sides over a sample of users.

    Attributes:
        num_users: Users of the sample.
        overlap: Mean share of a list that the other side has too.
        interval: 95 % interval of the overlap, by a normal approximation over users.
        one, other: What each recommends.
        most_different: The users with the smallest overlap, and their overlaps.
        histogram: Users by overlap, in ten equal classes from 0 to 1.
    """

    num_users: int
    overlap: float
    interval: tuple[float, float]
    one: Side
    other: Side
    most_different: list[tuple[str, float]]
    histogram: list[int]


NUM_DIFFERENT = 12


def compared(
    user_ids: Sequence[str],
    one: Sequence[Sequence[str]],
    other: Sequence[Sequence[str]],
    known_to_one: KnownItems,
    known_to_other: KnownItems,
) -> Compared:
    """Compares the lists of two sides; `one[n]` and `other[n]` are of user n.

    Args:
        known_to_one, known_to_other: What the release of each side knows of its items.
    """
    overlaps = np.array([_overlap(a, b) for a, b in zip(one, other, strict=True)])
    mean = float(overlaps.mean()) if len(overlaps) else 0.0
    half = 1.96 * float(overlaps.std(ddof=1)) / len(overlaps) ** 0.5 if len(overlaps) > 1 else 0.0
    order = np.argsort(overlaps, kind="stable")[:NUM_DIFFERENT]
    return Compared(
        len(user_ids),
        mean,
        (max(mean - half, 0.0), min(mean + half, 1.0)),
        _side(one, known_to_one),
        _side(other, known_to_other),
        [(user_ids[n], float(overlaps[n])) for n in order.tolist()],
        np.bincount(np.minimum((overlaps * 10 + 1e-9).astype(int), 9), minlength=10).tolist(),
    )


def _overlap(one: Sequence[str], other: Sequence[str]) -> float:
    longest = max(len(one), len(other))
    return len(set(one) & set(other)) / longest if longest else 1.0


def _side(lists: Sequence[Sequence[str]], known: KnownItems) -> Side:
    shown = [item_id for ids in lists for item_id in ids]
    distinct = len(set(shown))
    popularity = sum(known.counts.get(item_id, 0) for item_id in shown) / len(shown) if shown else 0.0
    return Side(distinct / known.num_items if known.num_items else 0.0, popularity, distinct)

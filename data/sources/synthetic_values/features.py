"""Users and items of the synthetic log, with features that are correlated with the planted tastes."""

import numpy as np
import pyarrow as pa

from data.sources.schema import Feature, FeatureKind
from data.sources.synthetic_values.titles import titles

REGIONS = ("capital", "coast", "east", "hills", "islands", "north", "south", "west")
GENRES = (
    "Action", "Adventure", "Animation", "Comedy", "Crime", "Documentary", "Drama", "Fantasy", "Horror", "Mystery",
    "Romance", "Thriller",
)  # fmt: skip
STUDIO_NAMES = ("Aurora", "Beacon", "Cedar", "Delta", "Ember", "Falcon", "Granite", "Iris", "Juniper", "Kestrel")
STUDIOS = tuple(f"{name} {kind}" for kind in ("Pictures", "Works", "Films", "House") for name in STUDIO_NAMES)
STUDIOS_PER_CLUSTER = 3
USER_FEATURES = (
    Feature(name="region", kind=FeatureKind.categorical),
    Feature(name="age", kind=FeatureKind.numeric),
)
ITEM_FEATURES = (
    Feature(name="genres", kind=FeatureKind.multi_categorical),
    Feature(name="studio", kind=FeatureKind.categorical),
    Feature(name="year", kind=FeatureKind.numeric),
    Feature(name="words", kind=FeatureKind.text),
    Feature(name="length", kind=FeatureKind.categorical),
)
LENGTHS = ("short", "half an hour", "feature", "epic")
CONTEXT = ("daypart",)
DAYPARTS = ("morning", "midday", "evening", "night")


def user_table(rng: np.random.Generator, clusters: np.ndarray) -> pa.Table:
    """The table of users: user_id, region, age.

    Args:
        clusters: int [num_users], the favourite tastes.
    """
    num = len(clusters)
    region = np.where(rng.random(num) < 0.3, clusters % len(REGIONS), rng.integers(len(REGIONS), size=num))
    age = np.clip(np.round(rng.normal(24 + 3 * (clusters % 12), 9)), 13, 90)
    return pa.table({"user_id": numbered("u", num), "region": pa.array(REGIONS).take(region), "age": age})


def item_table(rng: np.random.Generator, clusters: np.ndarray, lengths: np.ndarray) -> pa.Table:
    """The table of items: item_id, title, and the features.

    Args:
        clusters: int [num_items], the tastes.
        lengths: int [num_items], indices into LENGTHS.
    """
    num = len(clusters)
    own_studio = clusters * STUDIOS_PER_CLUSTER + rng.integers(STUDIOS_PER_CLUSTER, size=num)
    studio = np.where(rng.random(num) < 0.7, own_studio, rng.integers(len(STUDIOS), size=num)) % len(STUDIOS)
    title = titles(clusters)
    columns = {
        "item_id": numbered("i", num),
        "title": title,
        "genres": _genres(rng, clusters),
        "studio": pa.array(STUDIOS).take(studio),
        "year": np.clip(np.round(rng.normal(1975 + 7 * (clusters % 7), 8)), 1950, 2025),
        "words": title,
        "length": pa.array(LENGTHS).take(lengths),
    }
    return pa.table(columns)


def dayparts(rng: np.random.Generator, lengths: np.ndarray, share: float) -> pa.Array:
    """string [N]: the part of the day of each interaction; each length of an item has its own part of the day.

    Args:
        lengths: int [N], the lengths of the items.
        share: share of the interactions in the part of the day that goes with the length; the others are in any.
    """
    own = rng.random(len(lengths)) < share
    return pa.array(DAYPARTS).take(np.where(own, lengths, rng.integers(len(DAYPARTS), size=len(own))))


def numbered(prefix: str, num: int) -> pa.Array:
    """Ids such as u00001, all with as many digits as the last one needs."""
    width = max(5, len(str(num)))
    return pa.array([f"{prefix}{number:0{width}d}" for number in range(1, num + 1)])


def _genres(rng: np.random.Generator, clusters: np.ndarray) -> pa.ListArray:
    """One to three genres per item: always the taste's first one, often its second, sometimes any other."""
    num, items = len(clusters), np.arange(len(clusters))
    member = np.zeros((num, len(GENRES)), dtype=bool)
    member[items, clusters % len(GENRES)] = True
    member[items, (clusters * 5 + 3) % len(GENRES)] |= rng.random(num) < 0.6
    member[items, rng.integers(len(GENRES), size=num)] |= rng.random(num) < 0.3
    offsets = np.concatenate([[0], np.cumsum(member.sum(axis=1))])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(GENRES).take(np.nonzero(member)[1]))

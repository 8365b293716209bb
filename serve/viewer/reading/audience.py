"""To whom an item is shown: over a sample of users, where it is in their lists, and who they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from serve.viewer.reading.released import ReleasedCatalogue

MAX_USERS, MAX_FEATURES = 12, 8


class FeatureShare(NamedTuple):
    """How common a value of a user feature is among the users of a sample, as text for people.

    Attributes:
        feature: name of the feature.
        value: the value.
        share: its share among the users whose list has the item, in percent.
        usual_share: its share among all users of the sample, in percent.
    """

    feature: str
    value: str
    share: str
    usual_share: str


@dataclass(frozen=True)
class Audience:
    """To whom an item is shown.

    Attributes:
        k: Items of a list.
        num_users: Users of the sample.
        num_shown: Those whose list has the item.
        by_place: Users by the place of the item, from 1.
        users: Some of those who get it, with the place, the first places first.
        features: Values of user features; those whose two shares differ most come first.
    """

    k: int
    num_users: int
    num_shown: int
    by_place: list[float]
    users: list[tuple[str, int]]
    features: list[FeatureShare]


def audience(
    catalogue: ReleasedCatalogue, user_ids: pa.Array, lists: Sequence[Sequence[str]], item_id: str, k: int
) -> Audience:
    """Returns to whom of some users an item is shown; `lists` are theirs, in the same order."""
    places = np.array([ids.index(item_id) + 1 if item_id in ids else 0 for ids in lists])
    at = np.flatnonzero(places)
    at = at[np.argsort(places[at], kind="stable")]
    users = list(zip(user_ids.take(pa.array(at[:MAX_USERS])).to_pylist(), places[at[:MAX_USERS]].tolist(), strict=True))
    by_place = np.bincount(places[at], minlength=k + 1)[1 : k + 1].astype(float).tolist()
    return Audience(k, len(places), len(at), by_place, users, _features(catalogue, user_ids, places > 0))


def _features(catalogue: ReleasedCatalogue, user_ids: pa.Array, gets_it: np.ndarray) -> list[FeatureShare]:
    rows = catalogue.users.ids.rows(user_ids)
    found = []
    for feature in catalogue.users.features:
        if feature.kind.is_number or not feature.kind.has_vocabulary or feature.kind.is_list:
            continue
        values = catalogue.users.table[feature.name].take(pa.array(rows - 1))
        among = pc.value_counts(values.filter(pa.array(gets_it)).drop_null().combine_chunks())
        of_all = {c["values"]: c["counts"] for c in pc.value_counts(values.drop_null().combine_chunks()).to_pylist()}
        for counted in among.to_pylist():
            share, usual = counted["counts"] / max(gets_it.sum(), 1), of_all[counted["values"]] / len(rows)
            row = FeatureShare(feature.name, str(counted["values"]), f"{share:.0%}", f"{usual:.0%}")
            found.append((abs(share - usual), row))
    return [row for _, row in sorted(found, reverse=True)[:MAX_FEATURES]]

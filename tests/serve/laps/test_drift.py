"""Drift: hand-worked indices, and what is new or shifted between two datasets."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from data.dataset.catalogue import Catalogue
from data.sources.schema import Feature, FeatureKind
from serve.laps.config import CycleConfig
from serve.laps.drift import measure_drift, psi

FEATURES = (Feature(name="genre", kind=FeatureKind.categorical), Feature(name="price", kind=FeatureKind.numeric))


def catalogue(id_column: str, counts: dict[str, int], genre: dict[str, str] | None = None) -> Catalogue:
    """A catalogue of these ids with their numbers of positives; the price of each is its number."""
    ids = sorted(counts)
    columns: dict[str, Any] = {"row": pa.array(range(1, len(ids) + 1), pa.int32()), id_column: ids}
    if genre is not None:
        columns["genre"] = pa.array([genre.get(id_) for id_ in ids], pa.string())
        columns["price"] = pa.array([float(number) for number in range(len(ids))])
    none = [0] * len(ids)
    of_split = {"train_count": [counts[id_] for id_ in ids], "validation_count": none, "test_count": none}
    return Catalogue(id_column, pa.table(columns | of_split), FEATURES if genre is not None else ())


def dataset(users: dict[str, int], items: dict[str, int], genre: dict[str, str] | None = None) -> Any:
    return SimpleNamespace(users=catalogue("user_id", users), items=catalogue("item_id", items, genre))


def test_the_index_by_hand() -> None:
    p, q = np.array([750.5, 250.5]) / 1001, np.array([250.5, 750.5]) / 1001
    assert psi(np.array([750, 250]), np.array([250, 750])) == pytest.approx(((p - q) * np.log(p / q)).sum() - 2 / 1000)
    assert psi(np.array([750, 250]), np.array([75, 25])) == 0
    assert psi(np.array([0, 0]), np.array([1, 1])) == 0


def test_what_is_by_chance_does_not_count() -> None:
    shares = np.full(50, 1 / 50)
    draws = [np.random.default_rng(seed) for seed in range(20)]
    found = [psi(draw.multinomial(10_000, shares), draw.multinomial(400, shares)) for draw in draws]
    assert np.mean(found) < 0.05


def test_new_users_items_and_tastes() -> None:
    genres = {"a": "rock", "b": "rock", "c": "jazz", "d": "jazz"}
    before = dataset({"u": 600, "v": 400}, {"a": 500, "b": 480, "c": 20}, genres)
    same = measure_drift(before, dataset({"u": 1200, "v": 800}, {"a": 1000, "b": 960, "c": 40}, genres))
    assert (same.num_new, same.new_users, same.new_items) == (1000, 0.0, 0.0)
    assert same.popularity_shift == 0 and max(same.psi.values()) == 0
    assert same.beyond(CycleConfig()) == []
    later = dataset({"u": 600, "v": 500, "w": 900}, {"a": 500, "b": 480, "c": 620, "d": 400}, genres)
    after = measure_drift(before, later)
    assert (after.num_new, after.new_users, after.new_items) == (1000, 0.9, 0.4)
    assert after.popularity_shift == pytest.approx(0.98, abs=0.03)
    assert after.psi["items.genre"] > 1 and after.psi["items.price"] > 1
    beyond = [line.partition(" 0.")[0] for line in after.beyond(CycleConfig(max_new_items=0.3))]
    assert [name.split(" ")[0] for name in beyond] == ["new_items", "popularity_shift", "psi", "psi"]


def test_users_who_were_forgotten_are_no_new_positives() -> None:
    drift = measure_drift(dataset({"u": 5, "v": 5}, {"a": 10}), dataset({"u": 5}, {"a": 5}))
    assert (drift.num_new, drift.psi) == (0, {})

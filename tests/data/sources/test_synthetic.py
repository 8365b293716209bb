"""The planted log is as promised, and its tastes are there to be found."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from data.sources.schema import RAW_INTERACTIONS
from data.sources.survey import survey
from data.sources.synthetic import DAY_S, END_S, LATE, Planted, SyntheticSource, plant
from data.sources.synthetic_values.features import DAYPARTS, ITEM_FEATURES, LENGTHS, USER_FEATURES
from data.sources.synthetic_values.titles import titles

CONFIG = SyntheticSource()


@pytest.fixture(scope="module")
def planted() -> Planted:
    return plant(CONFIG)


def indices(planted: Planted) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """User and item indices (into the tables) and times of the interactions."""
    user, item = (
        pc.index_in(planted.interactions[name], value_set=table[name].combine_chunks()).to_numpy()
        for name, table in (("user_id", planted.users), ("item_id", planted.items))
    )
    return user, item, planted.interactions["time"].to_numpy()


def recall_at(k: int, scores: np.ndarray, seen: np.ndarray, test: np.ndarray) -> float:
    """Mean over users with test items of hits in the best k unseen items / min(k, test items); all [users, items]."""
    ranked = np.argsort(-np.where(seen, -np.inf, scores), axis=1)[:, :k]
    hits, wanted = np.take_along_axis(test, ranked, axis=1).sum(axis=1), test.sum(axis=1)
    return float((hits / np.minimum(np.maximum(wanted, 1), k))[wanted > 0].mean())


def test_equal_values_give_an_equal_log_and_another_seed_another(planted: Planted) -> None:
    again, other = plant(SyntheticSource()), plant(SyntheticSource(seed=1))
    assert again.interactions.equals(planted.interactions) and again.items.equals(planted.items)
    assert not other.interactions.equals(planted.interactions)


def test_shape_of_the_log(planted: Planted) -> None:
    user, item, time = indices(planted)
    assert planted.interactions.schema.equals(RAW_INTERACTIONS)
    assert (len(planted.users), len(planted.items)) == (CONFIG.num_users, CONFIG.num_items)
    assert len(user) == pytest.approx(CONFIG.num_users * CONFIG.interactions_per_user, rel=0.1)
    assert len(np.unique(user * CONFIG.num_items + item)) == len(user), "a user meets an item once"
    assert time.min() >= END_S - CONFIG.days * DAY_S and time.max() < END_S
    assert (np.diff(time) >= 0).all()


def test_features_have_their_declared_types(planted: Planted) -> None:
    for table, features in ((planted.users, USER_FEATURES), (planted.items, ITEM_FEATURES)):
        for feature in features:
            assert table.schema.field(feature.name).type == feature.kind.arrow_type
            assert table[feature.name].null_count == 0
    lengths = pc.list_value_length(planted.items["genres"])
    assert pc.min_max(lengths).as_py() == {"min": 1, "max": 3}


def test_cold_users_and_items_never_come_or_come_late(planted: Planted) -> None:
    user, item, time = indices(planted)
    late_s = END_S - CONFIG.days * DAY_S * (1 - LATE)
    for index, start, num, share in (
        (user, planted.user_start, CONFIG.num_users, CONFIG.cold_user_share),
        (item, planted.item_start, CONFIG.num_items, CONFIG.cold_item_share),
    ):
        cold = start >= LATE
        assert cold.sum() == round(num * share)
        assert set(np.flatnonzero(np.isinf(start))) == set(range(num)) - set(index.tolist())
        assert (time[cold[index]] >= late_s).all()


def test_late_items_are_unknown_to_training_and_there_in_the_test_part(planted: Planted) -> None:
    _, item, time = indices(planted)
    late = (planted.item_start >= LATE)[item]
    validation_from, test_from = np.quantile(time, [0.8, 0.9])
    assert not late[time < validation_from].any()
    assert late[time >= test_from].any()


def test_tastes_beat_popularity_by_far(planted: Planted) -> None:
    user, item, time = indices(planted)
    seen, test = np.zeros((2, CONFIG.num_users, CONFIG.num_items), dtype=bool)
    is_test = time >= np.quantile(time, 0.9)
    seen[user[~is_test], item[~is_test]] = True
    test[user[is_test], item[is_test]] = True
    popularity = recall_at(20, np.tile(seen.sum(axis=0), (CONFIG.num_users, 1)), seen, test)
    likes = seen @ np.eye(CONFIG.num_clusters)[planted.item_clusters]  # [users, clusters]
    taste = recall_at(20, likes[:, planted.item_clusters] * planted.item_weights, seen, test)
    assert taste >= 3 * popularity
    assert popularity > 20 / CONFIG.num_items, "popularity is worth something"


def test_a_length_has_its_part_of_the_day(planted: Planted) -> None:
    _, item, _ = indices(planted)
    daypart = pc.index_in(pc.list_element(planted.interactions["context"], 0), value_set=pa.array(DAYPARTS)).to_numpy()
    length = pc.index_in(planted.items["length"], value_set=pa.array(LENGTHS)).to_numpy()
    own = daypart == length[item]
    rest = (1 - CONFIG.daypart_share) / len(DAYPARTS)
    assert own.mean() == pytest.approx(CONFIG.daypart_share + rest, abs=0.02)
    assert CONFIG.read().context == ("daypart",)


def test_titles_are_distinct_and_tell_the_taste(planted: Planted) -> None:
    assert len(pc.unique(planted.items["title"])) == CONFIG.num_items
    many = titles(np.repeat(np.arange(30), 2_000))
    assert len(pc.unique(many)) == len(many)
    nouns = pc.list_element(pc.split_pattern(planted.items["title"], " "), 1).to_numpy(zero_copy_only=False)
    for cluster in range(CONFIG.num_clusters):
        own = set(nouns[planted.item_clusters == cluster])
        assert len(own) <= 8 and not own & set(nouns[planted.item_clusters != cluster])


@pytest.mark.parametrize("seed", range(3))
def test_small_logs_are_sound(seed: int) -> None:
    config = SyntheticSource(num_users=20, num_items=12, num_clusters=12, interactions_per_user=4.0, seed=seed)
    user, item, _ = indices(plant(config))
    assert 0 < len(user) <= 20 * 12
    assert (user >= 0).all() and (item >= 0).all()


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"num_users": 0}, "num_users"),
        ({"noise_share": 1.5}, "noise_share"),
        ({"num_items": 10}, "num_clusters"),
        ({"interactions_per_user": 600.0}, "interactions_per_user"),
        ({"popularity_skew": -1.0}, "popularity_skew"),
    ],
)
def test_values_out_of_range_are_named(values: dict, field: str) -> None:
    with pytest.raises(ValueError, match=rf"data\.source\.{field}: "):
        SyntheticSource(**values)


@pytest.mark.usefixtures("ray_session")
def test_the_source_hands_over_what_was_planted(planted: Planted) -> None:
    log = CONFIG.read()
    found = survey(log)
    assert found.num_interactions == planted.interactions.num_rows
    assert found.item_ids.equals(pa.array(sorted(set(planted.interactions["item_id"].to_pylist()))))
    assert log.items is not None and log.items.equals(planted.items)
    assert CONFIG.files() == []

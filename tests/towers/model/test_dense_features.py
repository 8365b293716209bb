"""Dense features: vectors, logarithms and buckets of numbers, from a column of a log to the item tower."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from data.dataset.catalogue import Catalogue
from data.dataset.catalogue_update import updated
from data.sources.entities import entity_table
from data.sources.schema import DataError, Feature
from serve.api.feature_values import checked_features
from towers.model.described import TrainedValues
from towers.model.feature_embedding import FeatureEmbedding
from towers.model.features import FeatureEncoder
from towers.model.numbers import scale_of_json
from towers.model.numbers.buckets import Buckets
from towers.model.numbers.scale import Scale

VECTORS = [[3.0, 4.0], [0.0, 2.0], None, [3.0, 4.0]]


def catalogue(kind: str, column: pa.Array | list) -> Catalogue:
    feature = Feature(name="field", kind=kind)
    ids = [f"i{number}" for number in range(len(column))]
    table = entity_table(pa.table({"item_id": ids, "field": column}), "item_id", [feature], "items.parquet")
    return Catalogue("item_id", table, (feature,))


@pytest.mark.parametrize(
    "column",
    [
        pa.array(VECTORS, pa.list_(pa.float64())),
        pa.array(VECTORS, pa.list_(pa.float32(), 2)),
        pa.array(VECTORS, pa.large_list(pa.float16())),
        pa.array(["[3, 4]", "[0, 2]", None, "[3, 4]"]),
        pa.array(["3|4", "0|2", "", "3|4"]),
    ],
    ids=lambda column: str(column.type),
)
def test_vectors_of_any_type_have_length_1(column: pa.Array) -> None:
    of = catalogue("vector", column)
    encoded = FeatureEncoder.fit(of).encode(of.table)
    wanted = torch.tensor([[0, 0], [0.6, 0.8], [0, 1], [0, 0], [0.6, 0.8]])
    torch.testing.assert_close(encoded.vectors["field"], wanted)
    assert encoded.numbers_NF.shape == (5, 0)


def test_a_vector_with_a_missing_value_is_named() -> None:
    with pytest.raises(
        DataError, match=r"items\.parquet, column 'field': .* in row 2 \(item_id 'i1'\) is not a list of finite"
    ):
        catalogue("vector", pa.array([[1.0, 2.0], [None, 2.0]], pa.list_(pa.float32())))


def test_a_vector_of_another_length_is_named() -> None:
    vectors = pa.array([[1.0, 2.0], [3.0, 4.0], None, [1.0]], pa.list_(pa.float32()))
    message = "items.parquet, feature 'field': the vector of item_id 'i3' has 1 values, and most have 2; 1 differ"
    with pytest.raises(DataError, match=message):
        catalogue("vector", vectors)
    of = catalogue("vector", vectors.slice(0, 3))
    with pytest.raises(DataError, match="feature 'field': a vector has 1 values, and others have 2"):
        FeatureEncoder.fit(of).encode(pa.table({"field": vectors}))


def test_an_empty_vector_is_a_missing_one() -> None:
    of = catalogue("vector", pa.array([[1.0, 2.0], [], None], pa.list_(pa.float32())))
    assert of.table["field"].to_pylist() == [[1.0, 2.0], None, None]


def test_a_vector_is_projected_and_places_a_new_item() -> None:
    of = catalogue("vector", pa.array(VECTORS, pa.list_(pa.float32())))
    encoder = FeatureEncoder.fit(of)
    encoded = encoder.encode(of.table)
    embedding = FeatureEmbedding(encoder, encoded, embedding_dim=3)
    weight_DE = embedding.projections["field"].weight
    found = embedding(torch.tensor([1, 3]))
    torch.testing.assert_close(found[0], weight_DE @ torch.tensor([0.6, 0.8]))
    assert found[1].tolist() == [0, 0, 0], "without a vector nothing is added"
    new = encoder.encode(pa.table({"field": pa.array([[0.0, 5.0]], pa.list_(pa.float32()))}))
    torch.testing.assert_close(embedding.embed(new)[1], embedding(torch.tensor([2]))[0])
    assert embedding.has_features
    learnt = TrainedValues.of(encoded, torch.tensor([False, True, False, False, False]))
    assert learnt.describe(encoded).tolist() == [False, True, True, False, True]
    unlearnt = TrainedValues.of(encoded, torch.tensor([False, False, False, True, False]))
    assert not unlearnt.describe(encoded).any()


def test_a_changed_vector_is_a_change() -> None:
    of = catalogue("vector", pa.array(VECTORS, pa.list_(pa.float32())))
    titled = of.table.set_column(1, "title", of.table["item_id"])
    table = titled.append_column("row", pa.array(range(1, 5))).append_column("train_count", pa.array([1] * 4))
    rows = pa.table(
        {
            "item_id": ["i0", "i1"],
            "title": pa.nulls(2, pa.string()),
            "field": pa.array([[3.0, 4.0], [1.0, 2.0]], pa.list_(pa.float32())),
        }
    )
    items = Catalogue("item_id", table, of.features)
    assert updated(items, rows).changed.to_pylist() == ["i1"]
    longer = pa.array([[3.0, 4.0, 5.0], [1.0, 2.0, 3.0]], pa.list_(pa.float32()))
    with pytest.raises(
        DataError, match="rows, feature 'field': the vector of item_id 'i0' has 3 values, and those before"
    ):
        updated(items, rows.set_column(2, "field", longer))


def test_a_logarithm_is_standardised() -> None:
    values = np.array([0.0, np.e - 1, np.e**2 - 1, np.nan])
    scale = Scale.of(values, is_log=True)
    assert (scale.mean, scale.std) == (pytest.approx(1.0), pytest.approx(np.sqrt(2 / 3)))
    assert scale.standardised(values).tolist() == pytest.approx([-np.sqrt(1.5), 0.0, np.sqrt(1.5), 0.0], abs=1e-6)
    assert scale_of_json(scale.as_json()) == scale
    assert Scale.of(-values[:3], is_log=True).mean == pytest.approx(-1.0)
    assert scale_of_json([0.0, 1.0]) == Scale(0.0, 1.0, np.inf), "as versions without a limit wrote it"


def test_buckets_hold_equally_many_values() -> None:
    values = np.arange(100.0)
    buckets = Buckets.of(values, most=4)
    assert np.bincount(buckets.rows(values)).tolist() == [0, 25, 25, 25, 25]
    assert buckets.rows(np.array([-1e300, 1e300, np.nan, 50.0])).tolist() == [1, 4, 0, 3]
    assert Buckets.of(np.array([5.0, 5.0, np.nan])).num_rows == 2, "one bucket, and row 0"
    assert scale_of_json(buckets.as_json()) == buckets
    of = catalogue("numeric_quantiles", [1.0, 1.0, 7.0, None])
    encoder = FeatureEncoder.fit(of)
    encoded = encoder.encode(of.table)
    assert encoded.bags["field"].tolist() == [[0], [1], [1], [2], [0]]
    assert FeatureEmbedding(encoder, encoded, 4)(torch.tensor([1, 3])).shape == (2, 4)
    assert FeatureEncoder.of_json(of, encoder.scales_to_json()).scales == encoder.scales


@pytest.mark.parametrize("rare", [[1.0], [-1.0], [1.0, 2.0, 3.0], [-1.0, 1.0]])
def test_a_value_that_nearly_all_have_is_told_from_the_others(rare: list[float]) -> None:
    values = np.array([*[0.0] * 990, *rare])
    buckets = Buckets.of(values)
    assert not set(buckets.rows(np.array(rare)).tolist()) & set(buckets.rows(np.zeros(1)).tolist())
    below, above = ([value for value in rare if (value > 0) is is_above] for is_above in (False, True))
    assert len(set(buckets.rows(values).tolist())) == 1 + bool(below) + bool(above), "one bucket for few values"


def test_there_are_never_more_buckets_than_asked_for() -> None:
    random = np.random.default_rng(0)
    for most in (1, 2, 5, 32):
        for spread in (0.3, 2, 20):
            values = np.round(random.normal(size=200) * spread)
            used = np.unique(Buckets.of(values, most).rows(values))
            assert used.tolist() == list(range(1, len(used) + 1)) and len(used) <= min(most, len(np.unique(values)))


def test_a_request_may_describe_an_item_by_a_vector() -> None:
    kinds = {"field": Feature(name="field", kind="vector").kind}
    assert checked_features({"field": [1, 2.5]}, kinds) == {"field": [1, 2.5]}
    for wrong in ([1, "a"], [float("nan")], 3, [True], [0.0] * 4097):
        with pytest.raises(ValueError, match=r"features\.field: must be a list of at most 4096 finite numbers"):
            checked_features({"field": wrong}, kinds)

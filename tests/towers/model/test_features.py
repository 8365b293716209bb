"""The one transform: features to tensors."""

from dataclasses import replace

import pyarrow as pa
import torch

from data.dataset.catalogue import Catalogue
from data.dataset.catalogue_update import updated
from data.dataset.vocabulary import fit_vocabulary
from data.sources.schema import Feature, FeatureKind
from towers.model.build import build_model, encode_catalogues
from towers.model.config import FittedSplits, ModelConfig
from towers.model.feature_embedding import FeatureEmbedding
from towers.model.features import FeatureEncoder
from towers.model.tables.whole import WholeTable, dense_table
from towers.model.two_tower import TowerInputs, all_item_vectors
from towers.training.epochs.shards import _divided_state, divided_weights
from towers.training.optimizer import Optimizers

FEATURES = (
    Feature(name="studio", kind=FeatureKind.categorical),
    Feature(name="genres", kind=FeatureKind.multi_categorical, max_values=2),
    Feature(name="year", kind=FeatureKind.numeric),
)
TABLE = pa.table(
    {
        "studio": ["b", None, "a"],
        "genres": [["x", "y", "z"], None, ["z"]],
        "year": [2000.0, None, 2010.0],
    }
)


def encoder() -> FeatureEncoder:
    vocabularies = {f.name: fit_vocabulary(TABLE[f.name], f) for f in FEATURES if f.kind is not FeatureKind.numeric}
    return FeatureEncoder.fit(Catalogue("item_id", TABLE, FEATURES, vocabularies))


def test_encoding_by_hand() -> None:
    encoded = encoder().encode(TABLE)
    assert encoded.bags["studio"].tolist() == [[0], [2], [0], [1]]
    assert encoded.bags["genres"].tolist() == [[0, 0], [1, 2], [0, 0], [3, 0]]
    assert encoded.numbers_NF.tolist() == [[0, 1], [-1, 0], [0, 1], [1, 0]]


def test_unknown_values_encode_to_nothing() -> None:
    other = pa.table({"studio": ["new"], "genres": [["x", "new"]], "year": [float("nan")]})
    encoded = encoder().encode(other)
    assert encoded.bags["studio"].tolist() == [[0], [0]]
    assert encoded.bags["genres"].tolist() == [[0], [1]]
    assert encoded.numbers_NF.tolist() == [[0, 1], [0, 1]]


def test_rows_with_equal_features_embed_equally() -> None:
    twice = pa.concat_tables([TABLE, TABLE])
    embedding = FeatureEmbedding(encoder(), encoder().encode(twice), 8)
    found = embedding(torch.arange(7))
    assert torch.equal(found[1:4], found[4:7])


def test_settled_features_embed_as_before() -> None:
    embedding = FeatureEmbedding(encoder(), encoder().encode(TABLE), 8)
    before = embedding(torch.arange(4))
    embedding.precompute()
    assert torch.equal(embedding(torch.arange(4)), before)
    embedding.tables["studio"].weight.data.zero_()
    assert torch.equal(embedding(torch.arange(4)), before), "looked up, not computed"


def test_no_features_add_nothing() -> None:
    empty = FeatureEncoder((), {}, {})
    embedding = FeatureEmbedding(empty, empty.encode(pa.table({"row": [1, 2]})), 8)
    assert embedding(torch.arange(3)).sum() == 0
    assert list(embedding.parameters()) == []
    embedding.precompute()
    assert embedding(torch.arange(3)).sum() == 0


def items_of(studios: list[str | None], train_counts: list[int], min_count: int = 1) -> Catalogue:
    """A catalogue as a prepared dataset has it, with the number of each item's interactions in train."""
    num = len(studios)
    columns = {
        "row": list(range(1, num + 1)),
        "item_id": [f"i{row}" for row in range(num)],
        "title": [f"Item {row}" for row in range(num)],
        "studio": pa.array(studios, pa.string()),
        "year": [2000.0] * num,
        "train_count": train_counts,
        "validation_count": [0] * (num - 1) + [1],
    }
    features = (
        Feature(name="studio", kind=FeatureKind.categorical, min_count=min_count),
        Feature(name="year", kind=FeatureKind.numeric),
    )
    return Catalogue("item_id", pa.table(columns), features)


def fitted(items: Catalogue, fit_on: FittedSplits = FittedSplits.train) -> TowerInputs:
    return encode_catalogues(items, items, fit_on)[1]


def test_a_value_that_only_items_without_training_data_have_is_unknown_through_both_doors() -> None:
    """In the log's table of items, or in rows that arrive after training: neither value was ever trained."""
    items = items_of(["a", "b", "new"], [5, 1, 0])
    inputs = fitted(items)
    assert inputs.encoder.vocabularies["studio"].values.to_pylist() == ["a", "b"]
    assert inputs.encoded.bags["studio"].tolist() == [[0], [1], [2], [0]]
    row = pa.table({"item_id": ["later"], "title": ["Later"], "studio": ["new"], "year": [2000.0]})
    model_items = replace(items, vocabularies=inputs.encoder.vocabularies)
    refreshed = inputs.encoder.encode(updated(model_items, row).items.table)
    assert refreshed.bags["studio"][3:].tolist() == [[0], [0]]
    assert torch.equal(refreshed.numbers_NF[3], refreshed.numbers_NF[4])


def test_rare_values_are_counted_on_items_with_training_data() -> None:
    items = items_of(["a", "a", "b", "b"], [1, 3, 2, 0], min_count=2)
    assert fitted(items).encoder.vocabularies["studio"].values.to_pylist() == ["a"]


def test_a_fit_on_validation_too_knows_the_values_of_its_items() -> None:
    items = items_of(["a", "b", "new"], [5, 1, 0])
    known = fitted(items, FittedSplits.train_validation).encoder.vocabularies["studio"]
    assert known.values.to_pylist() == ["a", "b", "new"]


def test_numbers_are_standardised_by_items_with_training_data() -> None:
    items = items_of(["a", "b", "new"], [5, 1, 0])
    years = pa.array([2000.0, 2010.0, 1e300])
    items = items.with_table(items.table.set_column(items.table.column_names.index("year"), "year", years))
    scale = fitted(items).encoder.scales["year"]
    assert (scale.mean, scale.std) == (2005.0, 5.0)


def test_sparse_gradients_are_those_of_the_dense_tables_and_name_the_values_of_the_batch() -> None:
    rows, found = torch.tensor([1, 2, 2, 0]), []
    for sparse in (False, True):
        torch.manual_seed(0)
        embedding = FeatureEmbedding(encoder(), encoder().encode(TABLE), 8, WholeTable if sparse else dense_table)
        vectors = embedding(rows)
        (vectors * torch.arange(1.0, 9)).sum().backward()
        found.append((vectors, {name: p.grad for name, p in embedding.named_parameters()}))
    (dense_vectors, dense), (vectors, gradients) = found
    assert torch.allclose(vectors, dense_vectors)
    for name, gradient in gradients.items():
        assert gradient is not None and gradient.is_sparse == name.startswith("tables")
        assert torch.allclose(gradient.to_dense(), dense[name])
    assert gradients["tables.genres.weight"].coalesce().indices()[0].tolist() == [0, 1, 2], "not 3, which is z"
    with torch.no_grad():
        assert torch.allclose(embedding(rows), vectors)


def test_a_feature_may_have_the_name_of_a_method() -> None:
    """Many catalogues have a column called type."""
    names = ("type", "items", "to", "training")
    features = *(Feature(name=name, kind="categorical") for name in names), Feature(name="float", kind="vector")
    table = pa.table(dict.fromkeys(names, ["a", "b"]) | {"float": [[1.0, 0.0], [0.0, 1.0]]})
    fitted = FeatureEncoder.fit(Catalogue("item_id", table, features))
    items = TowerInputs(fitted, fitted.encode(table), torch.ones(3, dtype=torch.bool))
    towers = build_model(ModelConfig(embedding_dim=8, tables="sharded"), items, items, seed=0).train()
    towers.item_vectors(torch.arange(3)).sum().backward()
    weights = dict(towers.named_parameters())
    assert {f"item_features.tables.{name}.weight" for name in names} < weights.keys()
    assert all(weight.grad is not None for name, weight in weights.items() if name.startswith("item_"))
    again = build_model(ModelConfig(embedding_dim=8, tables="sharded"), items, items, seed=1).eval()
    again.load_state_dict(towers.state_dict())
    assert torch.equal(all_item_vectors(again), all_item_vectors(towers.eval()))
    optimizers = Optimizers(towers, 0.1, 0.0)
    assert len(_divided_state(towers, optimizers)) == 2 * len(divided_weights(towers))

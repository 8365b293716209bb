"""The one transform: features to tensors."""

import pyarrow as pa
import torch

from data.dataset.catalogue import Catalogue
from data.dataset.vocabulary import fit_vocabulary
from data.sources.schema import Feature, FeatureKind
from towers.model.feature_embedding import FeatureEmbedding
from towers.model.features import FeatureEncoder

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

"""Which ids are described by their features, and who can be placed by them."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from data.dataset.catalogue import Catalogue
from data.dataset.vocabulary import fit_vocabulary
from data.sources.schema import Feature, FeatureKind
from towers.model.build import build_model
from towers.model.config import ModelConfig
from towers.model.described import TrainedValues
from towers.model.features import EncodedFeatures, FeatureEncoder
from towers.model.history.padding import pad
from towers.model.two_tower import TowerInputs, TwoTower

TOYS = Feature(name="category", kind=FeatureKind.categorical)
KNOWN = torch.tensor([False, True])
PRICE = Feature(name="price", kind=FeatureKind.numeric)


def inputs(id_column: str, columns: dict[str, list], known: list[bool], *features: Feature) -> TowerInputs:
    """A tower's inputs; `known` starts with row 0."""
    table = pa.table(columns)
    vocabularies = {f.name: fit_vocabulary(table[f.name], f) for f in features if f.kind.has_vocabulary}
    encoder = FeatureEncoder.fit(Catalogue(id_column, table, features, vocabularies))
    return TowerInputs(encoder, encoder.encode(table), torch.tensor(known))


def items() -> TowerInputs:
    """Row 1 was trained. Of the others, 2 shares its category, 3 its having a price, and 4 and 5 nothing."""
    columns = {"category": ["toys", "toys", None, "maps", None], "price": [2.0, None, 9.0, None, None]}
    return inputs("item_id", columns, [False, True, False, False, False, False], TOYS, PRICE)


def users() -> TowerInputs:
    """Row 1 was trained; 2 shares its category, 3 has one that nobody trained."""
    return inputs("user_id", {"category": ["a", "a", "z"]}, [False, True, False, False], TOYS)


def towers(items: TowerInputs, users: TowerInputs, **values: object) -> TwoTower:
    return build_model(ModelConfig(embedding_dim=4, history_length=3, **values), users, items, seed=0).eval()


def described(given: TowerInputs, known_N: torch.Tensor) -> list[bool]:
    return TrainedValues.of(given.encoded, known_N).describe(given.encoded).tolist()


def test_a_row_is_described_by_what_a_trained_row_has_too() -> None:
    given = items()
    assert described(given, given.known_N) == [False, True, True, True, False, False]


def test_a_number_that_all_trained_rows_share_describes_nobody() -> None:
    """Of another price nothing was learned, and of the same one nothing that tells a row from an unknown one."""
    known = torch.tensor([False, True, True, False, False])
    table = pa.table({"price": [2.0, 2.0, 2.0, 9.0]})
    encoder = FeatureEncoder.fit(Catalogue("item_id", table, (PRICE,)), known[1:].numpy())
    encoded = encoder.encode(table)
    assert not TrainedValues.of(encoded, known).describe(encoded).any()
    assert not encoded.numbers_NF[1:].any()


def test_where_nothing_was_trained_nothing_is_described() -> None:
    assert not any(described(items(), torch.zeros(6, dtype=torch.bool)))


def test_without_features_nothing_is_described() -> None:
    bare = inputs("item_id", {"item_id": ["a", "b"]}, [False, True, False])
    assert not any(described(bare, bare.known_N))


def test_a_value_that_came_after_training_describes_nobody() -> None:
    """Its row may lie beyond those that the encoder knew."""
    values = TrainedValues.of(EncodedFeatures({"category": torch.tensor([[0], [1]])}, torch.zeros(2, 0)), KNOWN)
    new = EncodedFeatures({"category": torch.tensor([[0], [1], [7]])}, torch.zeros(3, 0))
    assert values.describe(new).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("history", "wanted"), [([1], True), ([2], True), ([3], True), ([4], False), ([4, 5], False), ([4, 1], True)]
)
@pytest.mark.parametrize("user_ids", [True, False])
def test_a_history_places_a_user_by_an_item_that_was_trained_or_is_described(
    history: list[int], wanted: bool, user_ids: bool
) -> None:
    model = towers(items(), users(), user_ids=user_ids)
    assert model.is_known(torch.tensor([0]), pad([history], 3)).tolist() == [wanted]


@pytest.mark.parametrize("history", ["pooled", "transformer"])
def test_items_without_training_data_and_features_place_nobody(history: str) -> None:
    """Whichever they are, the vector is the same: the unknown user's, or one of length 0 without user ids."""
    bare = inputs("item_id", {"item_id": ["a", "b", "c"]}, [False, True, False, False])
    model = towers(bare, users(), history=history, user_ids=False, num_heads=1)
    histories, unknown = pad([[2], [3], [2, 3], [1]], 3), torch.zeros(4, dtype=torch.int64)
    assert model.is_known(unknown, histories).tolist() == [False, False, False, True]
    assert not model.user_vectors(unknown[:3], histories[:3]).sub(model.user_vectors(unknown[:1], pad([[]], 3))).any()


def test_a_user_who_is_described_is_placed_where_the_checkpoint_says_so() -> None:
    model, rows, nothing = towers(items(), users()), torch.tensor([0, 1, 2, 3]), pad([[]] * 4, 3)
    assert model.is_known(rows, nothing).tolist() == [False, True, False, False]
    model.places_by_features = True
    assert model.is_known(rows, nothing).tolist() == [False, True, True, False]
    assert np.isclose(model.user_vectors(rows, nothing).detach().norm(dim=1)[2], 1)

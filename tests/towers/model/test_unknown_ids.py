"""Where nothing trains the vector of ids without training data, these are what their features and history say."""

from types import SimpleNamespace
from typing import cast

import pyarrow as pa
import pytest
import torch

from data.dataset.catalogue import Catalogue
from tests.towers.model.test_described import items, towers, users
from tests.towers.model.test_two_tower import ITEMS, USERS, side
from towers.checkpoint.checkpoint import Checkpoint
from towers.checkpoint.warm_start import warm_start
from towers.model.history.padding import pad
from towers.model.layers import IdEmbedding, Refine
from towers.model.two_tower import TwoTower
from towers.training.optimizer import Optimizers

TABLES = [("whole", 9), ("sharded", 9), ("hashed", 4), ("hashed", 9)]


def built(tables: str = "whole", hash_rows: int = 9, **values: object) -> TwoTower:
    return towers(items(), users(), tables=tables, hash_rows=hash_rows, **{"id_dropout": 0.0} | values)


def unknown(model: TwoTower) -> tuple[torch.Tensor, torch.Tensor]:
    """The vectors of unknown users and of unknown items."""
    assert isinstance(model.user_ids, IdEmbedding)
    return model.user_ids.table(torch.tensor(0)).detach(), model.item_ids.table(torch.tensor(0)).detach()


@pytest.mark.parametrize(("tables", "hash_rows"), TABLES)
def test_a_new_item_is_what_its_features_say_after_training_too(tables: str, hash_rows: int) -> None:
    model = built(tables, hash_rows).train()
    optimizers = Optimizers(model, 0.1, 0.0)
    before = model.item_ids.table(torch.tensor(1)).detach().clone()
    rows = torch.tensor([1])
    loss = (model.user_vectors(rows, pad([[1]], 3)) - model.item_vectors(rows)).square().sum()
    loss.backward()
    optimizers.step()
    assert not torch.equal(model.item_ids.table(torch.tensor(1)), before), "it is trained"
    assert not any(vector.any() for vector in unknown(model))
    new = torch.tensor([2, 3])
    assert torch.equal(model.item_embedding(new), model.item_features(new))


@pytest.mark.parametrize("tables", ["whole", "sharded"])
def test_a_spectral_start_leaves_unknown_ids_alone(tables: str) -> None:
    model = built(tables)
    model.set_id_tables(torch.ones(4, 4), torch.ones(6, 4))
    assert not any(vector.any() for vector in unknown(model))


def test_a_vector_that_is_trained_or_stands_alone_is_random() -> None:
    assert all(vector.any() for vector in unknown(built(id_dropout=0.1)))
    bare = towers(side(ITEMS), side(USERS), id_dropout=0.0, history="none")
    assert all(vector.any() for vector in unknown(bare)), "as it was before: nothing else tells them apart"
    of_user, of_item = unknown(towers(side(ITEMS), side(USERS), id_dropout=0.0))
    assert of_item.any() and not of_user.any(), "a new user's history"


@pytest.mark.parametrize("source_dropout", [0.0, 0.1])
def test_a_start_from_a_checkpoint_brings_no_vector_that_nothing_trained(source_dropout: float) -> None:
    before = built(id_dropout=source_dropout)
    for table in (before.user_ids.table, before.item_ids.table):  # type: ignore[union-attr]
        torch.nn.init.ones_(table.weight)  # as a checkpoint of an earlier version has it
    catalogues = [
        Catalogue(f"{name}_id", pa.table({f"{name}_id": [f"{n}" for n in range(size)]}), ())
        for name, size in (("user", 3), ("item", 5))
    ]
    encoders = users().encoder, items().encoder
    scales = {"user_scales": encoders[0].scales_to_json(), "item_scales": encoders[1].scales_to_json()}
    source = SimpleNamespace(model=before, users=catalogues[0], items=catalogues[1], manifest=scales, folder="before")
    model = built()
    warm_start(model, cast(Checkpoint, source), (catalogues[0].ids, catalogues[1].ids), encoders)
    assert [bool(vector.any()) for vector in unknown(model)] == [source_dropout > 0] * 2
    assert model.item_ids.table(torch.tensor(1)).tolist() == [1, 1, 1, 1]


def test_what_has_neither_id_nor_features_has_small_gradients() -> None:
    nothing_BD = torch.zeros(1, 4, requires_grad=True)
    Refine(4, 0, 0.0)(nothing_BD).sum().backward()
    assert nothing_BD.grad is not None and nothing_BD.grad.abs().max() <= 1e3

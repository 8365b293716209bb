"""Hashed tables: a fixed number of rows, few collisions, and the same places in every process."""

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from tests.towers.model.test_tables import model
from tests.towers.model.test_two_tower import ITEMS
from towers.checkpoint.checkpoint import Checkpoint
from towers.checkpoint.opening.weights import load_weights
from towers.checkpoint.tensor_files import CheckpointError, save_tensors
from towers.checkpoint.warm_start import _check_hashed
from towers.model.config import IdTableStart, ModelConfig
from towers.model.tables.hashed import SALTS, HashedTable, hashed
from towers.model.two_tower import TwoTower, all_item_vectors

ROWS, SIZE = 20_000, 1000


def table(num_rows: int, hash_rows: int = SIZE, seed: int = 0) -> HashedTable:
    torch.manual_seed(seed)
    return HashedTable(num_rows, 4, 0.1, ModelConfig(tables="hashed", hash_rows=hash_rows))


def test_the_hash_functions_are_those_of_saved_weights() -> None:
    """By hand, in Python's own integers."""

    def by_hand(row: int, salt: int) -> int:
        bits = row ^ salt
        for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
            bits = ((bits ^ (bits >> 33)) * factor) % (1 << 64)
        return ((bits ^ (bits >> 33)) % (1 << 63)) % (SIZE - 1) + 1

    for salt in SALTS:
        found = hashed(torch.arange(100, dtype=torch.int32), salt, SIZE)
        assert found.tolist() == [0, *(by_hand(row, salt) for row in range(1, 100))]


def test_places_are_spread_evenly_and_two_functions_rarely_collide() -> None:
    rows = torch.arange(1, ROWS)
    first, second = (hashed(rows, salt, SIZE) for salt in SALTS)
    counts = torch.bincount(first, minlength=SIZE)[1:].float()
    assert counts.min() > 0 and counts.var() / counts.mean() == pytest.approx(1, abs=0.2), "as at random"
    pairs = torch.stack([torch.minimum(first, second), torch.maximum(first, second)])
    shared = 1 - len(pairs.unique(dim=1).T) / len(rows)
    assert shared < 0.05, "one function would leave 95 % of the ids without a row of their own"


def test_a_vector_is_the_mean_of_two_rows_and_so_is_its_gradient() -> None:
    ids = table(ROWS)
    assert ids.weight.shape == (SIZE, 4) and ids.is_hashed
    vector_D = ids(torch.tensor(7))
    places = [hashed(torch.tensor(7), salt, SIZE).item() for salt in SALTS]
    assert torch.equal(vector_D, ids.weight[places].mean(0))
    assert torch.equal(ids(torch.tensor(0)), ids.weight[0]), "the unknown row has one of its own"
    vector_D.sum().backward()
    gradient = ids.weight.grad.coalesce()
    assert gradient.indices()[0].tolist() == sorted(places)
    assert torch.allclose(gradient.values(), torch.tensor(0.5))


def test_initial_vectors_have_the_length_of_whole_tables() -> None:
    assert table(ROWS)(torch.arange(1, ROWS)).std().item() == pytest.approx(0.1, rel=0.1)


def test_bags_are_the_means_of_their_values() -> None:
    words, bag_BM = table(ROWS), torch.tensor([[5, 9, 0], [0, 0, 0]], dtype=torch.int32)
    found = words.means(bag_BM)
    assert torch.allclose(found[0], words(torch.tensor([5, 9])).mean(0))
    assert not found[1].any()


def test_few_rows_are_not_hashed() -> None:
    torch.manual_seed(0)
    ids = table(SIZE - 1)
    assert not ids.is_hashed and len(ids.weight) == SIZE - 1
    assert torch.equal(ids(torch.arange(3)), ids.weight[:3])


@pytest.mark.parametrize("fitted", [SIZE - 3, ROWS])
def test_weights_stay_those_of_the_fitted_rows_when_rows_are_added(fitted: int) -> None:
    """Whether a table is hashed is what it was when it was fitted; rows that were added since are not looked up."""
    before, after, rows = table(fitted, seed=1), table(fitted + 10), torch.arange(fitted)
    after.load_state_dict(before.state_dict())
    assert torch.equal(after(rows), before(rows))
    assert after.is_hashed == before.is_hashed == (fitted == ROWS)


@pytest.mark.parametrize("hash_rows", [5, 100])
def test_towers_with_hashed_tables_are_saved_and_opened(tmp_path, hash_rows: int) -> None:  # type: ignore[no-untyped-def]
    towers = model("hashed", "pooled", hash_rows=hash_rows).eval()
    sizes = {name: len(weight) for name, weight in towers.state_dict().items() if "table" in name}
    assert sizes["item_ids.table.weight"] == min(ITEMS, hash_rows)
    save_tensors(Folder.of(str(tmp_path)), "model.safetensors", towers.state_dict())
    opened = model("hashed", "pooled", hash_rows=hash_rows).eval()
    with torch.no_grad():
        for weight in opened.parameters():
            weight.zero_()
    load_weights(opened, Folder.of(str(tmp_path)), "model.safetensors")
    assert torch.equal(all_item_vectors(opened), all_item_vectors(towers))


def test_a_spectral_start_needs_a_row_for_each_id() -> None:
    with pytest.raises(ConfigError, match=r"model\.start: spectral .* hashed tables"):
        ModelConfig(tables="hashed", start=IdTableStart.spectral)


def test_a_hashed_table_starts_with_weights_that_were_hashed_alike() -> None:
    """Rows of the checkpoint that have moved since, or that it kept whole, would be other ids' rows."""
    name, same = "item_ids.table.weight", np.arange(ITEMS)
    hashed_5, whole = model("hashed", "pooled", hash_rows=5), model("whole", "pooled")
    moved = np.where(same == 4, 5, same)

    def check(to: TwoTower, source: TwoTower, rows: np.ndarray) -> None:
        checkpoint = SimpleNamespace(model=source, folder="/var/checkpoints/old")
        _check_hashed(to, cast(Checkpoint, checkpoint), {name: rows})

    check(hashed_5, model("hashed", "pooled", hash_rows=5), same)
    check(whole, whole, moved)
    with pytest.raises(CheckpointError, match="what was added to the log since has moved them"):
        check(hashed_5, hashed_5, moved)
    for to, source in ((hashed_5, whole), (whole, hashed_5), (model("hashed", "pooled", hash_rows=6), hashed_5)):
        with pytest.raises(CheckpointError, match=r"old, item_ids\.table\.weight is not hashed as this training"):
            check(to, source, same)
    without = model("hashed", "pooled", hash_rows=5, user_ids=False)
    checkpoint = SimpleNamespace(model=model("hashed", "pooled", hash_rows=5), folder="/var/checkpoints/old")
    _check_hashed(without, cast(Checkpoint, checkpoint), {"user_ids.table.weight": same})  # which it does not have

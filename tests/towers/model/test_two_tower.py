"""The model: unit vectors, cold ids, and one loss whatever the number of workers."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from data.dataset.catalogue import Catalogue
from data.dataset.vocabulary import fit_vocabulary
from data.sequences.batches import TrainBatch
from data.sources.schema import Feature, FeatureKind
from towers.model.build import build_model
from towers.model.config import ModelConfig
from towers.model.features import FeatureEncoder
from towers.model.history.dropout import Dropout
from towers.model.history.padding import pad
from towers.model.history.rotary import rotated, rotation
from towers.model.two_tower import TowerInputs, TwoTower, all_item_vectors
from towers.training.loop import Objective
from towers.training.losses.config import LossConfig

USERS, ITEMS, DIM = 9, 13, 8


def side(size: int, unknown: tuple[int, ...] = ()) -> TowerInputs:
    known = torch.ones(size, dtype=torch.bool)
    known[[0, *unknown]] = False
    encoder = FeatureEncoder((), {}, {})
    return TowerInputs(encoder, encoder.encode(pa.table({"row": np.arange(1, size)})), known)


def model(**values: object) -> TwoTower:
    config = ModelConfig(embedding_dim=DIM, id_dropout=0.0, dropout=0.0, history_length=4, **values)
    return build_model(config, side(USERS, unknown=(8,)), side(ITEMS, unknown=(12,)), seed=0)


def test_vectors_have_length_1() -> None:
    towers = model(hidden_dim=16)
    users = towers.user_vectors(torch.tensor([1, 2]), pad([[1, 2], []], 4))
    items = towers.item_vectors(torch.arange(ITEMS))
    assert users.norm(dim=1).tolist() == pytest.approx([1, 1])
    assert items.norm(dim=1).tolist() == pytest.approx([1] * ITEMS)


def test_an_id_without_training_data_is_the_unknown_one() -> None:
    towers = model()
    items = towers.item_vectors(torch.tensor([0, 12, 3]))
    assert torch.equal(items[0], items[1])
    assert not torch.equal(items[0], items[2])


@pytest.mark.parametrize("history", ["pooled", "transformer"])
def test_items_without_training_data_do_not_count_in_a_history(history: str) -> None:
    """Wherever they stand, the latest included."""
    towers = model(history=history).eval()
    without = towers.user_vectors(torch.tensor([1]), pad([[3, 4]], 4))
    for rows in ([3, 4, 12], [3, 12, 4], [12, 3, 4]):
        assert torch.equal(towers.user_vectors(torch.tensor([1]), pad([rows], 4)), without)


def with_features(history: str) -> TwoTower:
    """Items 11 and 12 have no training data; 12 shares its category with items 1 to 5, 11 with nobody's."""
    feature = Feature(name="category", kind=FeatureKind.categorical)
    table = pa.table({"category": ["toys"] * 5 + ["books"] * 5 + ["maps", "toys"]})
    catalogue = Catalogue("item_id", table, (feature,), {"category": fit_vocabulary(table["category"], feature)})
    encoder, known = FeatureEncoder.fit(catalogue), torch.arange(ITEMS) < 11
    items = TowerInputs(encoder, encoder.encode(table), known & (torch.arange(ITEMS) > 0))
    config = ModelConfig(embedding_dim=DIM, id_dropout=0.0, dropout=0.0, history_length=4, history=history)
    return build_model(config, side(USERS), items, seed=0).eval()


@pytest.mark.parametrize("history", ["pooled", "transformer"])
def test_an_item_without_training_data_counts_in_a_history_by_its_features(history: str) -> None:
    towers, users = with_features(history), torch.tensor([1])
    without, toys, maps = (towers.user_vectors(users, pad([h], 4)) for h in ([3], [3, 12], [3, 11]))
    assert not torch.allclose(without, toys)
    assert not torch.allclose(toys, maps)


@pytest.mark.parametrize("history", ["pooled", "transformer"])
def test_a_step_names_the_rows_that_it_touches(history: str) -> None:
    towers = with_features(history)
    towers.user_vectors(torch.tensor([1]), pad([[3, 4, 4]], 4)).sum().backward()
    gradient = towers.item_ids.table.weight.grad.coalesce()
    assert gradient.indices()[0].tolist() == [0, 3, 4], "padding, and the two items of the history"


def test_an_unknown_user_is_known_by_the_history() -> None:
    towers = model()
    users = towers.user_vectors(torch.tensor([8, 8]), pad([[3, 4], [5, 6]], 4))
    assert not torch.equal(users[0], users[1])


def test_history_none_ignores_it() -> None:
    towers = model(history="none")
    assert torch.equal(*(towers.user_vectors(torch.tensor([1]), pad([h], 4)) for h in ([3], [4])))


def test_history_none_makes_nobody_known_by_it() -> None:
    """All unknown users have one vector, whichever items they have taken."""
    rows, histories = torch.tensor([0, 8, 1, 1]), pad([[3], [3, 4], [3], []], 4)
    assert model(history="none").is_known(rows, histories).tolist() == [False, False, True, True]
    assert model().is_known(rows, histories).tolist() == [True, True, True, True]


def test_the_unknown_item_is_never_retrieved() -> None:
    assert all_item_vectors(model())[0].abs().sum() == 0


def test_pad_keeps_the_latest() -> None:
    assert pad([[1, 2, 3], [4]], 2).tolist() == [[2, 3], [0, 4]]


def transformer(**values: object) -> TwoTower:
    return model(history="transformer", **values).eval()


def test_a_position_knows_what_came_before_and_nothing_after() -> None:
    towers, users = transformer(), torch.tensor([1])
    along = towers.user_vectors_at_each_position(users, pad([[3, 4, 5, 6]], 4))[0]
    other = towers.user_vectors_at_each_position(users, pad([[3, 4, 9, 10]], 4))[0]
    assert torch.allclose(along[:2], other[:2])
    assert not torch.allclose(along[2:], other[2:])


def test_the_last_position_is_the_user_vector() -> None:
    towers, users, history = transformer(), torch.tensor([1, 2]), pad([[3, 4, 5, 6], [7]], 4)
    assert torch.allclose(
        towers.user_vectors_at_each_position(users, history)[:, -1], towers.user_vectors(users, history)
    )


def test_padding_says_nothing() -> None:
    """A short history gives the same vector, whatever stands beside it in the batch."""
    towers = transformer()
    alone = towers.user_vectors(torch.tensor([2]), pad([[7, 8]], 4))
    beside = towers.user_vectors(torch.tensor([1, 2]), pad([[3, 4, 5, 6], [7, 8]], 4))
    assert torch.allclose(alone[0], beside[1], atol=1e-6)
    assert torch.isfinite(towers.user_vectors(torch.tensor([1]), pad([[]], 4))).all()


def test_without_user_ids_only_the_history_places_a_user() -> None:
    towers = transformer(user_ids=False)
    assert towers.is_known(torch.tensor([1, 1]), pad([[], [3]], 4)).tolist() == [False, True]
    assert torch.equal(*(towers.user_vectors(torch.tensor([u]), pad([[3]], 4)) for u in (1, 2)))


@pytest.mark.parametrize("tables", ["whole", "sharded", "hashed"])
def test_without_user_ids_nothing_has_a_row_for_each_user(tables: str) -> None:
    with_ids, without = (transformer(user_ids=i, tables=tables, hash_rows=7).state_dict() for i in (True, False))
    assert with_ids.keys() - without.keys() == {"user_ids.table.weight"}
    assert all(torch.equal(with_ids[name], weight) for name, weight in without.items()), "a seed gives the same weights"


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    dropout, ones = Dropout(0.2), torch.ones(1001, 99, requires_grad=True)
    dropped = dropout(ones)
    dropped.sum().backward()
    assert (dropped == 0).float().mean().item() == pytest.approx(0.2, abs=0.005)
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.01)
    assert torch.equal(ones.grad, dropped.detach())
    assert torch.equal(dropout.eval()(ones), ones)


def batch(at: slice) -> TrainBatch:
    random = np.random.default_rng(3)
    users, items = random.integers(1, USERS, 8), random.integers(1, ITEMS, 8)
    history = random.integers(0, ITEMS, (8, 4))
    return TrainBatch(*(a[at].astype(np.int32) for a in (users, items, history)))


def windows(at: slice) -> TrainBatch:
    """Two windows to a worker, with unequally many targets."""
    history = np.array([[0, 0, 0, 1], [2, 3, 4, 5], [0, 6, 7, 8], [9, 10, 11, 1]], np.int32)
    targets = np.where(history > 0, history % (ITEMS - 1) + 1, 0).astype(np.int32)
    return TrainBatch(np.array([1, 2, 3, 4], np.int32)[at], targets[at], history[at])


def test_bfloat16_towers_have_nearly_the_loss_and_float32_gradients() -> None:
    losses = []
    for bfloat16 in (False, True):
        towers = model(history="transformer", hidden_dim=16)
        objective = Objective(LossConfig(in_batch=False, num_uniform=6), np.arange(ITEMS), bfloat16=bfloat16)
        loss = objective(towers, windows(slice(None)), torch.Generator().manual_seed(1), torch.device("cpu"))
        loss.backward()
        losses.append(loss.item())
        assert all(p.grad.dtype == torch.float32 for p in towers.parameters() if p.grad is not None)
    assert losses[0] != losses[1] == pytest.approx(losses[0], rel=0.02)


@pytest.mark.slow
def test_compiled_towers_say_the_same() -> None:
    towers, users, history = transformer(hidden_dim=16), torch.tensor([1, 2]), pad([[3, 4, 5, 6], [7, 8]], 4)
    wanted = towers.user_vectors_at_each_position(users, history)
    names = list(towers.state_dict())
    towers.compile_parts()
    assert torch.allclose(towers.user_vectors_at_each_position(users, history), wanted, atol=1e-5)
    assert list(towers.state_dict()) == names


def test_rotation_makes_attention_depend_on_distance_alone() -> None:
    cosine_LH, sine_LH = rotation(30, 8)
    query_H, key_H = torch.randn(2, 8)
    scores_LL = rotated(query_H.expand(30, 8), cosine_LH, sine_LH) @ rotated(key_H.expand(30, 8), cosine_LH, sine_LH).T
    for distance in (0, 1, 7):
        along = scores_LL.diagonal(-distance)
        assert along.tolist() == pytest.approx([along[0].item()] * len(along), abs=1e-4)
    assert scores_LL[0, 0].item() == pytest.approx((query_H @ key_H).item(), abs=1e-5)
    assert scores_LL[5, 0].item() != pytest.approx(scores_LL[1, 0].item(), abs=1e-3)

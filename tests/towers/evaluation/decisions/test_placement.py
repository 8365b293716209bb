"""Users of whom features alone are known: towers or popular items, as the validation part says."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.nn.functional import one_hot

from data.dataset.catalogue import Catalogue
from data.dataset.prepared import PreparedDataset
from data.dataset.split import TEST
from data.dataset.vocabulary import fit_vocabulary
from data.sequences.histories import Sequences
from data.sources.schema import Feature, FeatureKind
from towers.checkpoint.checkpoint import Checkpoint, load
from towers.evaluation.decisions.placement import cold_user_slices, decide_placement
from towers.evaluation.intervals import MIN_USERS
from towers.evaluation.queries import HeldOut
from towers.evaluation.ranking import embed
from towers.evaluation.report import report_of
from towers.model.build import build_model
from towers.model.config import ModelConfig
from towers.model.features import FeatureEncoder
from towers.model.two_tower import TowerInputs, TwoTower

CITIES, ITEMS, DIM = 4, 9, 4
REGION = Feature(name="region", kind=FeatureKind.categorical)


def world(num_cold: int) -> tuple[TwoTower, torch.Tensor]:
    """Users 1 to 4, one per region, were trained. The cold ones after them have regions too; region r goes to axis r.

    Items 1 and 5 lie on axis 0, 2 and 6 on axis 1, and so on.
    """
    regions = [f"r{user % CITIES}" for user in range(CITIES + num_cold)]
    table = pa.table({"region": regions})
    catalogue = Catalogue("user_id", table, (REGION,), {"region": fit_vocabulary(table["region"], REGION)})
    encoder = FeatureEncoder.fit(catalogue)
    known_N = torch.arange(len(regions) + 1) <= CITIES
    known_N[0] = False
    bare = FeatureEncoder((), {}, {})
    items = TowerInputs(bare, bare.encode(pa.table({"row": np.arange(1, ITEMS)})), torch.arange(ITEMS) > 0)
    config = ModelConfig(embedding_dim=DIM, history_length=3)
    model = build_model(config, TowerInputs(encoder, encoder.encode(table), known_N), items, seed=0).eval()
    with torch.no_grad():
        model.user_ids.table.weight[0] = 0
        model.user_features.tables["region"].weight[1:] = torch.eye(CITIES)
    item_ID = one_hot((torch.arange(ITEMS) - 1) % CITIES, DIM).float()
    item_ID[0] = 0
    return model, item_ID


def held_out(num_cold: int, taste: str) -> HeldOut:
    """Each cold user takes one item: by region, or the most popular one (8)."""
    rows = np.arange(CITIES + 1, CITIES + 1 + num_cold, dtype=np.int32)
    taken = (rows - 1) % CITIES + 1 if taste == "by region" else np.full(num_cold, 8)
    nothing = Sequences.of(pa.table({"user_row": pa.array([], pa.int32()), "item_row": pa.array([], pa.int32())}), 200)
    return HeldOut(rows, (np.arange(num_cold), taken), nothing)


def decide(num_cold: int, taste: str):  # noqa: ANN201
    model, item_ID = world(num_cold)
    queries = held_out(num_cold, taste)
    vectors, counts_I = embed(model, queries, 16), np.array([0, 1, 1, 1, 1, 2, 3, 4, 50])
    assert not vectors.known_Q.any(), "nobody is placed before the decision"
    return decide_placement(model, vectors, queries, counts_I, item_ID, 2, 16, 200)


def test_features_win_where_they_say_what_users_take() -> None:
    found = decide(60, "by region")
    assert found.by_features
    assert found.towers == {"ndcg@2": pytest.approx(1.0), "recall@2": 1.0}
    assert found.popularity["recall@2"] == 0
    assert found.difference["ndcg@2"] == pytest.approx([1.0, 1.0, 1.0])


def test_popular_items_stay_where_everybody_takes_them() -> None:
    found = decide(60, "popular")
    assert not found.by_features
    assert found.popularity["ndcg@2"] == 1
    assert "not higher" in found.reason


def test_few_users_say_too_little() -> None:
    found = decide(MIN_USERS - 1, "by region")
    assert (found.by_features, found.num_users) == (False, MIN_USERS - 1)
    assert found.towers == {}
    assert f"{MIN_USERS} are needed" in found.reason


def test_a_checkpoint_keeps_the_decision_and_follows_it(checkpoint: Checkpoint) -> None:
    placement = checkpoint.manifest["placement"]
    assert checkpoint.model.places_by_features == placement["by_features"]
    for by_features in (True, False):
        decided = checkpoint.manifest | {"placement": placement | {"by_features": by_features}}
        assert load(checkpoint.folder, decided).model.places_by_features == by_features


def test_a_checkpoint_without_a_decision_places_nobody_by_features(checkpoint: Checkpoint) -> None:
    before = {name: value for name, value in checkpoint.manifest.items() if name not in ("placement", "tie_seed")}
    opened = load(checkpoint.folder, before)
    assert not opened.model.places_by_features
    assert opened.ties.rows_I.tolist() == list(range(len(opened.counts_I)))


def test_cold_users_are_reported_by_what_is_known_of_them(dataset: PreparedDataset, checkpoint: Checkpoint) -> None:
    queries = HeldOut.of(dataset, TEST)
    user_counts_U = np.concatenate([[0], dataset.users.table["train_count"].to_numpy()])
    found = list(cold_user_slices(checkpoint.model, queries, user_counts_U))
    is_cold_N = user_counts_U[queries.user_rows_Q][queries.relevant[0]] == 0
    assert np.array_equal(np.logical_or.reduce([part.pairs_N for part in found]), is_cold_N)
    assert sum(part.pairs_N.sum() for part in found) == is_cold_N.sum() > 0
    reported = {part["name"] for part in report_of(checkpoint.manifest).slices if part["group"] == found[0].group}
    assert reported == {part.name for part in found}
    assert "with features alone" in reported

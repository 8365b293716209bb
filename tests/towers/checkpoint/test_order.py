"""What weights are numbered by has the order of the weights again, once a checkpoint is opened."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pyarrow as pa
import pytest
import torch

from data.artifacts.folders import MANIFEST, Folder
from data.artifacts.structured import jsonable
from data.dataset.prepared import PreparedDataset
from data.dataset.vocabulary import Vocabulary
from data.sources.schema import Feature
from tests.test_artifacts_of_before import CHECKPOINT, DATASET, STORAGE
from towers.checkpoint.checkpoint import open_checkpoint, save
from towers.checkpoint.item_tower import open_item_tower
from towers.model.build import build_model, encode_catalogues, interaction_counts
from towers.model.config import FittedSplits
from towers.model.context import Context
from towers.model.two_tower import TwoTower, all_item_vectors
from towers.reranking.config import RerankConfig
from towers.reranking.reranker import Reranker

CONTEXT = Context({name: Vocabulary(pa.array(["a", name])) for name in ("daypart", "channel")})
GOALS = {"view": 1.0, "buy": 5.0}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Folder, TwoTower, Reranker]:
    """A checkpoint with numeric features (year, cost), contexts and goals in an order of their own; and its modules."""
    before = open_checkpoint(STORAGE / "checkpoints" / CHECKPOINT)
    dataset = PreparedDataset.open(STORAGE / "datasets" / DATASET)
    table, cost = dataset.items.table, np.random.default_rng(0).normal(size=dataset.items.table.num_rows)
    features = (*dataset.items.features, Feature(name="cost", kind="numeric"))
    items = replace(dataset.items.with_table(table.append_column("cost", pa.array(cost))), features=features)
    inputs = encode_catalogues(dataset.users, items, FittedSplits.train)
    config, rerank = replace(before.model.config, context=True), RerankConfig(goals=GOALS)
    model = build_model(config, *inputs, 3, CONTEXT).eval()
    counts_I = interaction_counts(items, FittedSplits.train)
    reranker = Reranker(rerank, all_item_vectors(model), counts_I, inputs[1], CONTEXT).eval()
    manifest = {k: v for k, v in before.manifest.items() if k not in ("kind", "files", "fingerprint")}
    manifest |= {
        "model": jsonable(config),
        "rerank": jsonable(rerank),
        "goals": [{"name": name} for name in GOALS],
        "config": {"data": {"source": {"base": {"columns": {"context": list(CONTEXT.vocabularies)}}}}},
    }
    folder = Folder.of(str(tmp_path_factory.mktemp("saved"))) / "checkpoint"
    of = cast(PreparedDataset, SimpleNamespace(users=dataset.users, items=items))
    encoders = inputs[0].encoder, inputs[1].encoder
    save(folder, manifest, model, reranker, of, encoders, [before.history.as_part()])
    return folder, model, reranker


def check(folder: Folder, model: TwoTower, reranker: Reranker) -> None:
    opened, wanted_ID = open_checkpoint(folder), all_item_vectors(model)
    assert torch.allclose(opened.item_vectors_ID, wanted_ID, atol=1e-6)
    rows = torch.arange(1, len(wanted_ID))
    with torch.inference_mode():
        assert torch.allclose(open_item_tower(folder).item_vectors(rows), wanted_ID[1:], atol=1e-6)
    assert list(opened.context.as_json()) == list(opened.model.context.as_json()) == ["daypart", "channel"]
    assert opened.context.rows({"daypart": "daypart", "channel": "a"}) == CONTEXT.rows(
        {"daypart": "daypart", "channel": "a"}
    )
    assert opened.reranker.goals is not None and opened.reranker.goals.names == ("view", "buy")
    assert opened.reranker.goals.weights_A.tolist() == [1.0, 5.0]


def test_a_checkpoint_opens_in_the_order_that_it_was_fitted_in(saved: tuple[Folder, TwoTower, Reranker]) -> None:
    check(*saved)


def test_a_manifest_of_before_had_its_keys_sorted(saved: tuple[Folder, TwoTower, Reranker], tmp_path: Path) -> None:
    folder, *made_of = saved
    sorted_ = Folder.of(str(tmp_path)) / "sorted"
    for name in folder.files():
        sorted_.share(name, folder)
    sorted_.write_json(MANIFEST, folder.read_json(MANIFEST))
    assert list(sorted_.read_json(MANIFEST)["item_scales"]) == ["cost", "year"]
    check(sorted_, *made_of)

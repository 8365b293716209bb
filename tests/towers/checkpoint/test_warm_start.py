"""Towers that start with the weights of a checkpoint know what it has learned, also where the dataset has grown."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pyarrow as pa
import pytest
import torch

from conf.schema import Config, load
from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.dataset.catalogue import Catalogue
from data.dataset.preparation import prepare
from data.dataset.prepared import PreparedDataset
from data.dataset.split import SplitConfig, SplitKind
from data.dataset.vocabulary import Vocabulary
from data.sources.schema import Feature
from tests.conftest import TINY
from tests.towers.model.test_two_tower import DIM, USERS, side
from towers.checkpoint.checkpoint import Checkpoint
from towers.checkpoint.tensor_files import CheckpointError
from towers.checkpoint.warm_start import _context_rows, warm_start
from towers.model.build import build_model, encode_catalogues
from towers.model.config import FittedSplits, ModelConfig
from towers.model.context import Context
from towers.model.features import FeatureEncoder
from towers.model.numbers.buckets import Buckets
from towers.model.two_tower import TowerInputs, TwoTower, all_item_vectors
from towers.training.fit import train
from towers.training.start import open_start


def started(source: Checkpoint, dataset: PreparedDataset, config: ModelConfig) -> TwoTower:
    users, items = encode_catalogues(dataset.users, dataset.items, FittedSplits.train)
    model = build_model(config, users, items, seed=7, context=Context.of(dataset, FittedSplits.train.splits))
    warm_start(model, source, (dataset.users.ids, dataset.items.ids), (users.encoder, items.encoder))
    return model.eval()


def from_it(config: Config, checkpoint: Checkpoint) -> Config:
    return replace(config, train=replace(config.train, start_from=str(checkpoint.folder)))


def test_the_same_log_gives_the_same_vectors(checkpoint: Checkpoint, dataset: PreparedDataset, tiny: Config) -> None:
    model = started(checkpoint, dataset, tiny.model)
    model.cold_length = checkpoint.model.cold_length  # which each training decides anew
    assert torch.allclose(all_item_vectors(model), checkpoint.item_vectors_ID, atol=1e-6)


def test_other_shapes_are_refused(checkpoint: Checkpoint, dataset: PreparedDataset, tiny: Config) -> None:
    with pytest.raises(CheckpointError, match=r"train\.start_from: .* has shape .* x 16, and these towers need .* x 8"):
        started(checkpoint, dataset, replace(tiny.model, embedding_dim=8))


def test_buckets_start_with_the_earlier_bucket_of_their_lower_edge() -> None:
    before, now = Buckets((1.0, 2.0, 3.0)), Buckets((1.5, 2.0, 9.0))
    assert before.rows_of(now).tolist() == [0, 2, 2, 3, 4]
    assert now.rows_of(now).tolist() == [0, 1, 2, 3, 4]
    assert before.rows_of(Buckets(())).tolist() == [0, 1]


def test_numbers_are_found_by_feature() -> None:
    """What is new, or taken otherwise now, starts fresh, and the others keep what was learned, whatever their order."""

    def towers(seed: int, **kinds: str) -> tuple[TwoTower, Catalogue, FeatureEncoder]:
        table = pa.table({"item_id": list("abc")} | {name: [1.0, 2.0, 4.0] for name in kinds})
        items = Catalogue("item_id", table, tuple(Feature(name=name, kind=kind) for name, kind in kinds.items()))
        encoder = FeatureEncoder.fit(items)
        inputs = TowerInputs(encoder, encoder.encode(table), torch.ones(4, dtype=torch.bool))
        return build_model(ModelConfig(embedding_dim=DIM), side(USERS), inputs, seed), items, encoder

    before, catalogue, learned = towers(0, price="numeric", year="numeric", size="numeric_quantiles")
    now, _, encoder = towers(1, year="numeric", age="numeric", price="numeric_log", size="numeric")
    users = Catalogue("user_id", pa.table({"user_id": [f"{row}" for row in range(1, USERS)]}), ())
    manifest = {"user_scales": {}, "item_scales": learned.scales_to_json()}
    source = SimpleNamespace(model=before, users=users, items=catalogue, manifest=manifest, folder="old")
    fresh = now.item_features.get_parameter("linear.weight").detach().clone()
    ids = users.ids, catalogue.ids
    warm_start(now, cast(Checkpoint, source), ids, (FeatureEncoder((), {}, {}), encoder))
    found, was = (of.item_features.get_parameter("linear.weight") for of in (now, before))
    assert torch.equal(found[:, [0, 4]], was[:, [1, 3]]), "year, and whether it is missing"
    assert torch.equal(found[:, [1, 2, 3, 5, 6, 7]], fresh[:, [1, 2, 3, 5, 6, 7]])


def test_context_values_are_found_by_feature_and_value() -> None:
    before = Context({"channel": Vocabulary(pa.array(["app", "web"])), "daypart": Vocabulary(pa.array(["day"]))})
    now = Context({"channel": Vocabulary(pa.array(["app", "branch", "web"])), "daypart": Vocabulary(pa.array(["day"])),
                   "device": Vocabulary(pa.array(["app"]))})  # fmt: skip
    assert _context_rows(now, before).tolist() == [0, 1, 0, 2, 3, 0]


def test_what_is_measured_must_not_be_known(checkpoint: Checkpoint, dataset: PreparedDataset, tiny: Config) -> None:
    opened = open_start(from_it(tiny, checkpoint), dataset)
    assert opened is not None
    assert opened.name == checkpoint.name
    bounds = {**dataset.manifest["boundaries"], "validation_from": checkpoint.manifest["newest_interaction"]}
    earlier = replace(dataset, manifest={**dataset.manifest, "boundaries": bounds})
    with pytest.raises(ConfigError, match=r"train\.start_from: .* has learned interactions up to"):
        open_start(from_it(tiny, checkpoint), earlier)
    with pytest.raises(ConfigError, match=r"train\.start_from: there is no checkpoint in /nowhere"):
        open_start(replace(tiny, train=replace(tiny.train, start_from="/nowhere")), dataset)


def test_a_checkpoint_of_before_that_does_not_say_until_when_it_has_learned(
    dataset: PreparedDataset, tiny: Config, tmp_path: Path
) -> None:
    """That of version 0.1.0 ended in a traceback."""
    storage = Path(__file__).parents[2] / "fixtures" / "var"
    (own,) = (storage / "datasets").iterdir()
    (of_before,) = (storage / "checkpoints").iterdir()
    of_own = PreparedDataset.open(Folder.of(str(own)))
    config = replace(tiny, train=replace(tiny.train, start_from=str(of_before)))
    opened = open_start(config, of_own)
    assert opened is not None and "newest_interaction" not in opened.manifest
    with pytest.raises(ConfigError, match=r"^train\.start_from: .* and its dataset /tmp/twotower-fixture/.* is gone"):
        open_start(config, dataset)
    moved = Folder.of(str(shutil.copytree(of_before, tmp_path / "moved")))
    manifest = moved.read_json("manifest.json")
    manifest["dataset"]["folder"] = str(own)
    moved.write_json("manifest.json", manifest, sort_keys=False)
    config = replace(tiny, train=replace(tiny.train, start_from=str(moved)))
    assert open_start(config, of_own) is not None
    early = replace(dataset, manifest={**dataset.manifest, "boundaries": {"validation_from": 1, "test_from": 2}})
    with pytest.raises(ConfigError, match=r"has learned interactions up to \d+, and those from 1 on are"):
        open_start(config, early)


def test_where_no_moment_divides_the_parts_they_must_be_the_same(
    checkpoint: Checkpoint, dataset: PreparedDataset, tiny: Config
) -> None:
    """A checkpoint of another split, or of a log that has grown since, may have learned what is held out."""
    of_users = replace(tiny.data, split=SplitConfig(kind=SplitKind.leave_last_out))
    config = from_it(replace(tiny, data=of_users), checkpoint)
    undivided = {**dataset.manifest, "boundaries": None}
    assert open_start(config, replace(dataset, manifest=undivided)) is not None
    same_parts = {**undivided, "fingerprint": "with other features"}
    assert open_start(config, replace(dataset, manifest=same_parts)) is not None
    files = {name: "other" if "split=test" in name else sha for name, sha in dataset.manifest["files"].items()}
    with pytest.raises(ConfigError, match=r"split\.kind=temporal, and may have .*split\.kind=leave_last_out"):
        open_start(config, replace(dataset, manifest={**same_parts, "files": files}))


@pytest.mark.slow
def test_a_log_that_has_grown(checkpoint: Checkpoint, dataset: PreparedDataset, tiny: Config) -> None:
    storage = Folder.of(tiny.storage.root)
    grown = load([*TINY, "data.source.num_users=330", "data.source.num_items=230", "train.epochs=1",
                  f"storage.root={tiny.storage.root}", f"train.start_from={checkpoint.folder}"])  # fmt: skip
    of_grown = prepare(grown.data, storage)
    model = started(checkpoint, of_grown, grown.model)
    rows = checkpoint.items.ids.rows_of(of_grown.items.ids)
    known = np.flatnonzero((rows > 0) & checkpoint.model.item_ids.known_N.numpy()[rows])
    assert 100 < len(known) < len(rows) - 20
    weight, learned = model.item_ids.table.weight, checkpoint.model.item_ids.table.weight
    assert torch.equal(weight[known], learned[rows[known]])
    warm = train(grown, of_grown, storage)
    cold = train(replace(grown, train=replace(grown.train, start_from=None)), of_grown, storage)
    assert warm.name != cold.name
    assert warm.manifest["training"]["best_value"] > cold.manifest["training"]["best_value"]

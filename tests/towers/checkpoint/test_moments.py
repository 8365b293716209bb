"""A checkpoint of towers that take times and event types opens as it was, with the golden queries of its release."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data.artifacts.folders import Folder
from data.artifacts.json_text import json_text
from data.artifacts.structured import jsonable
from data.dataset.prepared import PreparedDataset
from serve.pipeline.user_encoder import UserEncoder
from serve.releases.golden_queries import GoldenQuery, golden_queries
from tests.test_artifacts_of_before import CHECKPOINT, DATASET, STORAGE
from tests.towers.model.history.test_history_time import MODES
from towers.checkpoint.checkpoint import Checkpoint, open_checkpoint, save
from towers.evaluation.queries import queries_of
from towers.evaluation.ranking import embed
from towers.model.build import build_model, tower_inputs
from towers.model.config import FittedSplits
from towers.model.features import FeatureEncoder
from towers.model.history.time_modes import HistoryTime

EVENT_TYPES = {"types": [{"name": "click"}, {"name": "purchase"}], "positive_from": None}


@pytest.fixture(scope="module")
def before() -> Checkpoint:
    return open_checkpoint(STORAGE / "checkpoints" / CHECKPOINT)


@pytest.mark.parametrize(("history", "time"), MODES)
def test_a_checkpoint_opens_as_it_was(before: Checkpoint, tmp_path: Path, history: str, time: HistoryTime) -> None:
    dataset = PreparedDataset.open(STORAGE / "datasets" / DATASET)
    config = replace(before.model.config, history=history, history_time=time, history_types=True)
    users, items = (
        tower_inputs(of, FeatureEncoder.of_json(of, before.manifest[f"{side}_scales"]), FittedSplits.train)
        for side, of in (("user", before.users), ("item", before.items))
    )
    model = build_model(config, users, items, 3, before.model.context, ("click", "purchase")).eval()
    assert model.event_types is not None
    torch.nn.init.normal_(model.event_types.values.weight, generator=torch.Generator().manual_seed(0))
    taken = dataset.sequences("train", "validation", beside=config.history_columns)
    taken = replace(taken, types_N=(taken.items_N % 3).astype(np.int16))
    manifest = {k: v for k, v in before.manifest.items() if k not in ("kind", "files", "fingerprint")}
    manifest |= {"model": jsonable(config), "event_types": EVENT_TYPES}
    folder = Folder.of(str(tmp_path)) / "sealed"
    save(folder, manifest, model, before.reranker, dataset, (users.encoder, items.encoder), [taken.as_part()])
    opened = open_checkpoint(folder)
    assert opened.model.config == config
    assert opened.model.event_type_rows == {"click": 1, "purchase": 2}
    assert np.array_equal(opened.history.times_N, taken.times_N)
    queries = replace(queries_of(dataset, beside=config.history_columns), seen=taken, earlier=taken)
    wanted = embed(model, queries, 16).user_QD
    assert torch.equal(embed(opened.model, queries, 16).user_QD, wanted)
    recorded = json.loads(json_text([golden.as_json() for golden in golden_queries(opened)]))
    for golden in (GoldenQuery(**value) for value in recorded):
        assert len(golden.times) == len(golden.types) == len(golden.history) > 0
        (vector_D,) = UserEncoder("r", opened).vectors([golden.known])
        np.testing.assert_allclose(vector_D, golden.vector, atol=1e-6)
        at = queries.user_rows_Q.tolist().index(golden.user_row) if golden.user_row in queries.user_rows_Q else None
        if at is not None:
            np.testing.assert_allclose(vector_D, wanted[at].numpy(), atol=1e-6)


def test_golden_queries_without_times_are_written_as_before(before: Checkpoint) -> None:
    (first, *_) = golden_queries(before)
    assert (first.times, first.types) == ([], [])
    assert not {"times", "types"} & first.as_json().keys()
    assert before.history.times_N is None

"""The same events give the same user vectors in training (data.prepare) and at the endpoint (the state of users)."""

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from conf.schema import Config, load
from data.artifacts.folders import Folder
from data.dataset.preparation import prepare
from data.dataset.prepared import PreparedDataset
from data.dataset.split import TRAIN, VALIDATION
from data.sequences.histories import Sequences
from data.sources.schema import SPLITS
from serve.api.adapter import RequestAdapter
from serve.api.events.known import with_state
from serve.api.schemas import RecommendRequest
from serve.events.compaction import compact
from serve.events.event import MICROS, Event
from serve.events.protocol import Outcome
from serve.events.sqlite_store import SqliteStore
from serve.pipeline.user_encoder import UserEncoder
from serve.releases.release import Release
from tests.conftest import TINY
from tests.towers.model.history.test_history_time import MODES
from towers.evaluation.queries import HeldOut
from towers.evaluation.ranking import embed
from towers.model.build import build_model, encode_catalogues
from towers.model.config import FittedSplits
from towers.model.history.time_modes import HistoryTime


@pytest.fixture(scope="module")
def users(release: Release, dataset: PreparedDataset) -> list[str]:
    """Users whose whole log is in the release, one of them without any, and two of whom it knows nothing."""
    whole = dataset.sequences(*SPLITS).lengths_U == release.parts.history.lengths_U
    rows = np.flatnonzero(whole & (release.parts.history.lengths_U > 0))[:5]
    assert len(rows) == 5
    without = np.flatnonzero(whole & (release.parts.history.lengths_U == 0))[1:2]  # row 0 is nobody
    known: list[str] = release.parts.users.ids.ids(np.concatenate([rows, without])).to_pylist()
    return [*known, "new-1", "new-2"]


def caused(users: list[str], items: list[str]) -> list[Event]:
    """Events in an order other than that of their times, some within one second, of all signs."""
    random, now_us = np.random.default_rng(0), (time.time_ns() // 1000 // MICROS - 3600) * MICROS
    types = ["click", "purchase", "view", "dismiss", "impression", "like"]
    return [
        Event(
            event_id=f"{user}-{number}",
            user_id=user,
            item_id=items[int(random.integers(len(items)))] if number else "an item that the release does not know",
            type=types[int(random.integers(len(types)))],
            time_us=now_us + int(random.integers(0, 12) * MICROS / 2) + int(random.integers(100)),
            context={"daypart": "evening"} if number % 2 else {},
        )
        for number in range(14)
        for user in users
    ]


def timed_parts(
    release: Release, dataset: PreparedDataset, prepared: PreparedDataset, history: str, mode: HistoryTime
) -> Any:
    """What the user encoder needs of a release whose towers, untrained, take times and types; its log was of clicks."""
    config = replace(release.parts.model.config, history=history, history_time=mode, history_types=True)
    users, items = encode_catalogues(dataset.users, dataset.items, FittedSplits.train)
    model = build_model(config, users, items, 5, release.parts.model.context, prepared.event_type_names).eval()
    for name, weight in model.named_parameters():
        if "event_types" in name or "time_bias" in name:  # as if it was trained: they start without effect
            torch.nn.init.normal_(weight, generator=torch.Generator().manual_seed(0))
    learned = dataset.sequences(TRAIN, VALIDATION, beside=("time",))
    types_N = np.full(len(learned.items_N), model.event_type_rows["click"], dtype=np.int16)
    known = replace(learned, types_N=types_N)
    parts = release.parts
    return SimpleNamespace(
        model=model, users=parts.users, items=parts.items, history=known, seen=known, manifest=parts.manifest
    )


@pytest.mark.slow
async def test_vectors_are_the_same(
    tiny: Config, release: Release, dataset: PreparedDataset, users: list[str], tmp_path: Path
) -> None:
    config, storage = replace(tiny.events, path=str(tmp_path / "events.sqlite")), Folder.of(str(tmp_path))
    store = SqliteStore(config)
    events = caused(users, release.parts.items.ids.values.to_pylist())
    assert set(store.append(events)) == {Outcome.accepted}
    states = dict(zip(users, store.read(users), strict=True))
    compact(config, store, storage)
    base = [override.replace("data.source.", "data.source.base.") for override in TINY]
    source = ["data=events", "data/source@data.source.base=synthetic", "data.source.base_type=click"]
    prepared = prepare(load([*source, *base, f"storage.root={tmp_path}"]).data, storage)
    trained_on = prepared.sequences(*SPLITS, beside=("time", "type"))

    adapter, timed = RequestAdapter(release, 100), [timed_parts(release, dataset, prepared, *mode) for mode in MODES]
    for parts in (release.parts, *timed):
        encoder = UserEncoder(release.id, parts)
        adapter.type_rows = parts.model.event_type_rows
        adapter.history_columns = parts.model.config.history_columns
        for user, state in states.items():
            query, _ = adapter.query(RecommendRequest(user_id=user))
            served = await encoder(with_state(query, state, {}, adapter, config))
            row, log_row = release.parts.users.ids.row(user), prepared.users.ids.row(user)
            known = release.parts.items.ids.rows(prepared.items.ids.ids(trained_on.of_user(log_row)))
            columns = (known, *(trained_on.of_user(log_row, of_N) for of_N in (trained_on.times_N, trained_on.types_N)))
            columns = tuple(of[known > 0] for of in columns)  # the release lacks items that came after it
            assert served.history.tolist() == columns[0].tolist()
            offsets = np.where(np.arange(len(release.parts.users.ids) + 1) > row, len(columns[0]), 0)
            nothing = np.zeros(0, np.int64), np.zeros(0, np.int64)
            asked = HeldOut(np.array([row]), nothing, Sequences(offsets, *columns))
            trained = embed(parts.model, asked, batch_size=1)
            assert served.vector_D is not None
            np.testing.assert_allclose(served.vector_D, trained.user_QD[0].numpy(), atol=1e-6)

"""Batch inference and the page leave out what a user has seen where the release was measured so, or as is said."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest

from conf.schema import load
from data.artifacts.folders import Folder
from data.sequences.histories import Sequences
from serve.batch.recommender import BatchRecommender
from serve.batch.seen import left_out, treatment_of_seen
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import Release
from serve.viewer.reading.opened import OpenedRelease, Order
from tests.benchmarks.releases.made import made_release
from towers.checkpoint.checkpoint import Checkpoint
from towers.evaluation.config import LATEST, SeenItems

K = 50
"""Items of a list: of a catalogue of 60, so that some that the user has seen must be among them."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Folder, Release]:
    root = tmp_path_factory.mktemp("made")
    config = load([f"storage.root={root}", f"index.uri={root}/milvus.db", "tracking=off", "index.timeout_s=60"])
    storage = Folder.of(config.storage.root)
    return storage, ReleaseRegistry.of(storage).open(made_release(config, 60, 20, seed=1))


def seen_in(release: Release, user_ids: pa.Array, lists: list[list[str]]) -> list[int]:
    """How many items of each user's list the user has seen."""
    parts = release.parts
    seen = [set(parts.seen.of_user(row).tolist()) for row in parts.users.ids.rows(user_ids).tolist()]
    return [len(of & set(parts.items.ids.rows(pa.array(ids)).tolist())) for of, ids in zip(seen, lists, strict=True)]


def test_what_a_release_was_measured_by_decides_unless_it_is_said() -> None:
    assert treatment_of_seen({}) is SeenItems.mask
    for measured in SeenItems:
        manifest = {"measured_by": {"seen": measured.value}}
        assert treatment_of_seen(manifest) is measured
        assert treatment_of_seen(manifest, True) is SeenItems.mask
        assert treatment_of_seen(manifest, False) is SeenItems.keep


def test_the_latest_200_are_those_of_the_history() -> None:
    history = Sequences(np.array([0, 0, LATEST + 3]), np.arange(1, LATEST + 4, dtype=np.int32))
    parts = cast(Checkpoint, SimpleNamespace(history=history, seen=history))
    assert left_out(parts, SeenItems.mask_200).of_user(1).tolist() == list(range(4, LATEST + 4))
    assert left_out(parts, SeenItems.mask) is history
    assert not len(left_out(parts, SeenItems.keep).items_N)


@pytest.mark.parametrize(("seen", "has_seen"), [(SeenItems.mask, False), (SeenItems.keep, True)])
def test_batch_inference_keeps_what_was_seen(
    made: tuple[Folder, Release], tmp_path: Path, seen: SeenItems, has_seen: bool
) -> None:
    storage, release = made
    users = release.parts.users.ids.values[:4]
    batch = BatchRecommender(storage, release.id, Folder.of(str(tmp_path)), K, K, [], (), seen)
    found = seen_in(release, users, batch.table(users)["item_ids"].to_pylist())
    assert all(found) if has_seen else not any(found)


@pytest.mark.parametrize(("measured", "has_seen"), [({}, False), ({"measured_by": {"seen": "keep"}}, True)])
def test_so_does_the_page(made: tuple[Folder, Release], measured: dict[str, Any], has_seen: bool) -> None:
    storage, release = made
    of = replace(release, manifest=release.manifest | measured)
    opened = OpenedRelease(of, ReleaseRegistry.of(storage), K)
    users = release.parts.users.ids.values[:4]
    for order in Order:
        found = seen_in(release, users, opened.lists(users, order, K))
        assert all(found) if has_seen else not any(found)

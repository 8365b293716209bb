"""A release that is published again: what of it is lost or damaged comes back, and what is whole stays as it is."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from conf.schema import Config
from data.artifacts.folders import MANIFEST, Folder
from serve.releases.building.restore import restore_collection
from serve.releases.golden_queries import GOLDEN_FILE
from serve.releases.publish import publish
from serve.releases.refresh import refresh
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import Release, ReleaseError
from serve.releases.verify import ADDRESS, verify
from tests.serve.releases.items import NEW, rows
from tests.serve.releases.test_poison import sealed
from towers.checkpoint.checkpoint import Checkpoint


@pytest.fixture
def registry(release: Release, tmp_path: Path) -> ReleaseRegistry:
    """A registry of its own with a copy of the real release."""
    shutil.copytree(release.parts.folder.path, tmp_path / "releases" / release.id)
    return ReleaseRegistry.of(Folder.of(str(tmp_path)))


@pytest.mark.parametrize("content", [b'{"kind": "rel', b'{"kind": "release", "created_at": "2026-01-01"}'])
def test_a_release_whose_manifest_is_damaged_comes_back_by_its_checkpoint(
    tiny: Config, checkpoint: Checkpoint, release: Release, registry: ReleaseRegistry, content: bytes, tmp_path: Path
) -> None:
    said: list[str] = []
    index = replace(tiny.index, uri=f"{tmp_path}/milvus.db")
    registry.path(release.id).write_bytes(MANIFEST, content)
    assert publish(index, checkpoint, Folder.of(str(tmp_path)), said.append) == release.id
    assert any(f"{MANIFEST}: not the manifest of a release" in line and "; publishing the" in line for line in said)
    assert registry.open(release.id).manifest["num_items"] == release.manifest["num_items"]


def written_by_other_code(folder: Path, vector: list[float] | None = None) -> None:
    """Golden queries in another layout, or of a user tower that gives this vector."""
    golden = json.loads((folder / GOLDEN_FILE).read_text())
    of = {} if vector is None else {"vector": vector}
    (folder / GOLDEN_FILE).write_text(json.dumps([one | of for one in golden], indent=4))


def test_a_release_whose_collection_is_made_again_keeps_its_golden_queries(
    tiny: Config, release: Release, registry: ReleaseRegistry, tmp_path: Path
) -> None:
    """Recorded anew, they would be of the code that makes it: no replica would notice that this is another one."""
    index = replace(tiny.index, uri=f"{tmp_path}/milvus.db")
    sealed(Path(registry.path(release.id).path), written_by_other_code)
    before = registry.path(release.id).read_bytes(GOLDEN_FILE)
    restore_collection(index, registry, release.id, lambda _: None, may_move=True)
    assert registry.open(release.id).collection != release.collection
    assert registry.path(release.id).read_bytes(GOLDEN_FILE) == before


def test_a_release_that_other_code_has_published_is_neither_restored_nor_refreshed(
    tiny: Config, release: Release, registry: ReleaseRegistry, tmp_path: Path
) -> None:
    index = replace(tiny.index, uri=f"{tmp_path}/milvus.db")
    folder, vector = Path(registry.path(release.id).path), [0.0] * release.parts.dim
    sealed(folder, lambda folder: written_by_other_code(folder, vector))
    with pytest.raises(ReleaseError, match=r"the user's vector is off by .*; nothing has changed\. The code here"):
        restore_collection(index, registry, release.id, lambda _: None)
    live = registry.open(release.id)
    with pytest.raises(ReleaseError, match="the user's vector is off by"):
        refresh(index, registry, live, rows(live, NEW), (), lambda _: None)
    assert registry.ids() == [release.id]


def test_a_release_does_not_move_to_another_milvus_because_its_address_was_forgotten(
    tiny: Config, checkpoint: Checkpoint, release: Release, registry: ReleaseRegistry, tmp_path: Path
) -> None:
    """As where somebody types what serve.verify advises, without `index.uri`: the default is Milvus Lite."""
    here, there = replace(tiny.index, uri=f"{tmp_path}/milvus.db"), tiny.index.address
    before, storage = registry.manifest(release.id), Folder.of(str(tmp_path))
    assert before[ADDRESS] == f"{there}"
    advice = rf"is not in Milvus at {here.address} \(index\.uri\); it was published to {there}: give index\.uri={there}"
    with pytest.raises(ReleaseError, match=advice):
        verify(here, registry, release.id, lambda _: None)
    refused = rf"index\.uri: {here.address}: .* was published to {there}, .* type index\.uri={here.address} with serve"
    with pytest.raises(ReleaseError, match=refused):
        restore_collection(here, registry, release.id, lambda _: None)
    with pytest.raises(ReleaseError, match=refused):
        publish(here, checkpoint, storage, lambda _: None)
    assert registry.manifest(release.id) == before
    restore_collection(tiny.index, registry, release.id, lambda _: None)
    assert registry.manifest(release.id) == before, "it is whole where it was"
    restore_collection(here, registry, release.id, lambda _: None, may_move=True)
    assert registry.manifest(release.id)[ADDRESS] == f"{here.address}"
    restore_collection(here, registry, release.id, lambda _: None)

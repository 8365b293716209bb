"""A release that is published again: what of it is lost or damaged comes back, and what is whole stays as it is."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from conf.schema import Config
from data.artifacts.folders import MANIFEST, Folder
from serve.releases.publish import publish
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import Release
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

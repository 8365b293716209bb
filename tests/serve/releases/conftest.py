"""A registry for one test, in which the real release is live."""

import shutil
from pathlib import Path

import pytest

from data.artifacts.folders import Folder
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import Release


@pytest.fixture
def registry(release: Release, tmp_path: Path) -> ReleaseRegistry:
    """A registry of its own, in which the real release is live."""
    shutil.copytree(release.parts.folder.path, tmp_path / "releases" / release.id)
    registry = ReleaseRegistry.of(Folder.of(str(tmp_path)))
    registry.promote(release.id)
    return registry


@pytest.fixture
def live(registry: ReleaseRegistry, release: Release) -> Release:
    return registry.open(release.id)

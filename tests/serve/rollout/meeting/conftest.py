"""A registry on a disk and on an object store (moto's S3)."""

from pathlib import Path

import pytest

from data.artifacts.folders import Folder
from serve.releases.registry import ReleaseRegistry
from serve.rollout import waiting
from tests.serve.rollout.meeting.world import three_releases


@pytest.fixture(params=["disk", "object store"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> ReleaseRegistry:
    """Three releases that nobody opens; `r2` is live, and `r1` was before."""
    return three_releases(Folder.of(str(tmp_path)) if request.param == "disk" else request.getfixturevalue("bucket"))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for the clocks of replicas, which follow nothing here."""
    monkeypatch.setattr(waiting, "LEASE_MARGIN_S", 0.0)

"""What reads all releases goes on without one that somebody else prunes at the same time."""

from collections.abc import Callable
from pathlib import Path

import pytest

from data.artifacts.folders import MANIFEST, Folder
from data.artifacts.seals import NotSealed, open_sealed, remove_sealed, sealing
from serve.laps.clearing import left_by_laps
from serve.releases.audit.publications import missing_publications
from serve.releases.lineage import find_releases
from serve.releases.listing import list_releases
from serve.releases.registry import ReleaseRegistry
from tests.serve.releases.audit.test_damaged_files import DESCRIBED


@pytest.fixture
def registry(tmp_path: Path) -> ReleaseRegistry:
    """Three releases that nobody opens, of which `b` is live."""
    registry = ReleaseRegistry.of(Folder.of(str(tmp_path)))
    for day, name in enumerate("abc", start=1):
        with sealing(registry.path(name), DESCRIBED | {"created_at": f"2026-01-0{day}T00:00:00+00:00"}) as folder:
            folder.write_json("rows.json", [name])
    registry.promote("b")
    return registry


def removed_when(release_id: str, registry: ReleaseRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Release `a` goes when the manifest of a release is about to be read."""
    read = Folder.read_bytes

    def reads(folder: Folder, name: str) -> bytes:
        if (folder.name, name) == (release_id, MANIFEST):
            remove_sealed(registry.path("a"))
        return read(folder, name)

    monkeypatch.setattr(Folder, "read_bytes", reads)


READINGS: dict[str, Callable[[ReleaseRegistry], object]] = {
    "ids": lambda registry: registry.ids(),
    "list": lambda registry: [row["release"] for row in list_releases(registry)],
    "find": lambda registry: list(find_releases(registry, "d1")),
    "laps": lambda registry: left_by_laps(Folder.of(registry.folder.path.rpartition("/")[0])),
    "history": lambda registry: missing_publications(registry.folder),
}


@pytest.mark.parametrize("at", ["a", "c"])
@pytest.mark.parametrize("reading", READINGS)
def test_a_release_that_goes_meanwhile_is_left_out_without_a_word(
    registry: ReleaseRegistry, reading: str, at: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    removed_when(at, registry, monkeypatch)
    READINGS[reading](registry)
    assert READINGS[reading](registry) in (["b", "c"], ["c", "b"], [])
    assert caplog.text == ""


def test_a_folder_that_is_removed_while_it_is_opened_is_not_sealed(
    registry: ReleaseRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed_when("a", registry, monkeypatch)
    with pytest.raises(NotSealed, match="no release there"):
        open_sealed(registry.path("a"), "release")

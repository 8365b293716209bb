"""Publications in the history, also those of a process that was killed before it could add them.

The manifest of a release says itself who has published it, when and by which command, and under which name the history
has that (`Stamp`).
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from data.artifacts.folders import MANIFEST, Folder
from data.artifacts.json_text import DamagedFile, mapping, shaped
from data.artifacts.seals import NotSealed, is_sealed, open_sealed
from serve.releases.audit.history import Stamp, is_recorded, record_stamped
from serve.releases.audit.requests import stamp_of

PUBLISHED = "published"
"""The entry of a release's manifest with its publication; those of earlier versions have none."""


def publication(action: str, release_id: str, more: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of the manifest of a release that this process publishes now.

    Args:
        action: the command that publishes it, such as `publish`.
        more: what the history says of it besides.
    """
    return {"stamp": asdict(Stamp.now()), "what": {"action": action, "release": release_id, **more}}


def record_publication(releases: Folder, manifest: Mapping[str, Any]) -> None:
    """Adds the publication of a release to the history, unless it is there.

    Args:
        releases: the folder of all releases.
        manifest: that of the release.
    """
    for stamp, what in _of(manifest):
        record_stamped(releases, stamp, what)


def missing_publications(releases: Folder) -> list[dict[str, Any]]:
    """What the history lacks of the releases that are there. One whose manifest is damaged is left out."""
    found = []
    for folder in filter(is_sealed, releases.subfolders()):
        with suppress(NotSealed, DamagedFile):
            manifest = open_sealed(folder, "release")
            found += shaped(manifest, f"{folder}/{MANIFEST}", _of, "the manifest of a release")
    return [stamp.on(what) for stamp, what in found if not is_recorded(releases, stamp)]


def _of(manifest: Mapping[str, Any]) -> list[tuple[Stamp, dict[str, Any]]]:
    published = manifest.get(PUBLISHED)
    if published is None or (stamp := stamp_of(published["stamp"])) is None:
        return []
    return [(stamp, mapping(published["what"]))]

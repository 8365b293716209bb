"""Of a user who was forgotten, the page shows nothing that the release has learnt, nor ranks by it."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from conf.schema import load
from data.artifacts.folders import Folder
from serve.api.events.schemas import UserResponse
from serve.api.problems import EndpointError
from serve.events.sqlite_store import SqliteStore
from serve.releases.registry import ReleaseRegistry
from serve.viewer.reading import item_map as item_map_module
from serve.viewer.reading.opened import OpenedRelease, Order
from serve.viewer.viewer import Viewer
from serve.viewer.views.answers import past_of
from tests.benchmarks.releases.made import made_release
from tests.conformance.events import config as events_config
from tests.conformance.events import now_us
from tests.serve.viewer.two_releases import TwoReleases, two_releases

NOW = datetime(2026, 1, 31, tzinfo=UTC)


class Endpoint:
    """Knows of each user what it is told; None means that it cannot be asked."""

    def __init__(self, status: int | None = None, **known: Any) -> None:
        self._status, self._known = status, known

    async def user(self, user_id: str) -> UserResponse:
        if not self._known:
            raise EndpointError("down", self._status)
        values = {"user_id": user_id, "events": [], "seen": [], "counts": {}, "release_id": "left"} | self._known
        return UserResponse.model_validate(values)


def viewer(folder: Path, endpoint: Endpoint | None = None) -> TwoReleases:
    """Releases whose log was read long ago; `u` was forgotten since."""
    made, values = two_releases(folder, endpoint), events_config(path=str(folder / "events.sqlite"))
    SqliteStore(values).forget("u", now_us())
    object.__setattr__(made, "events", values)
    for name in ("left", "right"):
        made.catalogues(name).manifest["dataset"]["log_read_us"] = 1
    return made


@pytest.mark.parametrize(
    ("endpoint", "user_id", "learnt"),
    [
        (Endpoint(forgotten=NOW, release_history=[]), "u", []),
        (Endpoint(forgotten=NOW, release_history=["a"]), "u", ["a"]),
        (Endpoint(forgotten=None, release_history=["a"]), "v", ["a"]),
        (Endpoint(), "u", []),
        (Endpoint(), "v", ["a"]),
        (Endpoint(status=404), "v", ["a"]),
    ],
    ids=["forgotten", "learnt since", "known", "down, forgotten", "down, known", "without events"],
)
async def test_what_a_release_has_learnt_of_a_forgotten_user_is_not_shown(
    tmp_path: Path, endpoint: Endpoint, user_id: str, learnt: list[str]
) -> None:
    made = viewer(tmp_path, endpoint)
    past = await past_of(made, made.catalogues("left"), user_id)
    assert past.learnt == learnt
    assert past.features == ({"interactions": 1} if learnt else {})
    assert ("was forgotten" in past.remark) is not bool(learnt)


async def test_where_nobody_can_say_who_was_forgotten_nothing_is_shown(tmp_path: Path) -> None:
    made = viewer(tmp_path, Endpoint())
    (tmp_path / "events.sqlite").unlink()
    made.storage.write_json("events/_until.json", {})
    past = await past_of(made, made.catalogues("left"), "v")
    assert (past.learnt, past.features) == ([], {})
    assert "is not shown: events.path: there is no" in past.remark


async def test_samples_and_the_map_are_without_forgotten_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = viewer(tmp_path)
    assert (await made.compare(("left:full", "right:full"), 10)).num_users == 1
    assert (await made.audience("left", "a")).users == [("v", 1)]
    drawn: list[str] = []
    monkeypatch.setattr(item_map_module, "item_map", lambda *given: drawn.append(given[-1]))
    for user_id in ("u", "v", ""):
        await made.item_map("left", "", [], user_id)
    assert drawn == ["", "v", ""]


def test_a_release_in_this_process_ranks_as_for_an_unknown_user(tmp_path: Path) -> None:
    config = load([f"storage.root={tmp_path}", f"index.uri={tmp_path}/milvus.db", "tracking=off", "index.timeout_s=60"])
    storage = Folder.of(config.storage.root)
    release = ReleaseRegistry.of(storage).open(made_release(config, 60, 20, seed=1))
    first, second = release.parts.users.ids.values[:2].to_pylist()
    values = events_config(path=str(tmp_path / "events.sqlite"))
    SqliteStore(values).forget(first, now_us())
    page: Any = SimpleNamespace(events=values, storage=storage)
    opened = OpenedRelease.open(
        ReleaseRegistry.of(storage), release.id, 50, lambda ids, manifest: Viewer.forgotten(page, ids, manifest)
    )
    for order in Order:
        of_first, of_second, of_nobody = opened.lists(pa.array([first, second, "nobody"]), order, 5)
        assert of_first == of_nobody != of_second
    assert opened.user_vector(first) is None
    assert opened.user_vector(second) is not None

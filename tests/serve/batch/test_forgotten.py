"""Who was forgotten since a release's log was read is an unknown user to batch inference, as at the endpoint."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from conf.schema import Config, load
from data.artifacts.errors import UserError
from data.artifacts.folders import Folder
from serve.batch import forgotten as forgotten_module
from serve.batch.forgotten import forgotten_users
from serve.batch.recommender import BatchRecommender
from serve.events.sqlite_store import SqliteStore
from serve.pipeline.source import Source
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import log_read_us
from tests.benchmarks.releases.made import made_release
from tests.conformance.events import config as events_config
from tests.conformance.events import event, now_us


def test_those_who_were_forgotten_later_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgotten_module, "PART", 2)
    values = events_config(path=str(tmp_path / "events.sqlite"))
    store, storage = SqliteStore(values), Folder.of(str(tmp_path))
    before = store.forget("before", now_us())
    for user_id in ("a", "b"):
        store.append([event(user_id, user_id=user_id)])
    store.forget("b", now_us())
    store.forget("c", now_us())
    users = pa.array(["a", "b", "before", "nobody", "c"])
    assert forgotten_users(values, storage, users, before) == ["b", "c"]
    assert forgotten_users(values, storage, users, now_us()) == []
    assert forgotten_users(replace(values, store="off"), storage, users, before) == []


def test_without_the_store_it_is_not_known_who_was_forgotten(tmp_path: Path) -> None:
    (tmp_path / "events.sqlite").write_text("something else, and longer than the header of a database" * 99)
    values = events_config(path=str(tmp_path / "events.sqlite"))
    with pytest.raises(UserError, match=r"events\.path: .*events\.sqlite: file is not a database; .* pass events=off"):
        forgotten_users(values, Folder.of(str(tmp_path)), pa.array(["a"]), 0)


@pytest.mark.parametrize("noted", ["events/_until.json", "decisions/_forgotten.json", "exposures/_forgotten.json"])
def test_on_another_machine_it_is_not_known_either(noted: str, tmp_path: Path) -> None:
    storage, path = Folder.of(str(tmp_path / "storage")), tmp_path / "state" / "events.sqlite"
    values = events_config(path=str(path))
    assert forgotten_users(values, storage, pa.array(["a"]), 0) == [], "no event was ever taken"
    storage.write_json(noted, {})
    said = rf"there is no {path}, though .*/{noted} says .*: run .* events\.path=\.\.\., or pass events=off"
    with pytest.raises(UserError, match=said):
        forgotten_users(values, storage, pa.array(["a"]), 0)
    assert not path.parent.exists()


@pytest.fixture
def made(tmp_path: Path) -> Config:
    return load([f"storage.root={tmp_path}", f"index.uri={tmp_path}/milvus.db", "tracking=off", "index.timeout_s=60"])


def test_the_history_of_a_forgotten_user_does_not_count(made: Config, tmp_path: Path) -> None:
    storage = Folder.of(made.storage.root)
    release = ReleaseRegistry.of(storage).open(made_release(made, 60, 20, seed=1))
    first, second = release.parts.users.ids.values[:2].to_pylist()
    values = events_config(path=str(tmp_path / "events.sqlite"))
    SqliteStore(values).forget(first, now_us())
    users = pa.array([first, second, "nobody"])
    gone = forgotten_users(values, storage, users, log_read_us(release.manifest))
    found = BatchRecommender(storage, release.id, Folder.of(str(tmp_path)), 5, 50, [], gone).table(users).to_pylist()
    assert [row["source"] for row in found] == [Source.popular.value, Source.towers.value, Source.popular.value]
    assert found[0]["item_ids"] == found[2]["item_ids"]

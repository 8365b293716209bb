"""Batch inference: everybody once, what is done stays done, and mistakes are named."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conf.schema import Config
from data.artifacts.folders import MANIFEST, Folder
from serve.batch.config import RecommendConfig
from serve.batch.recommendations import recommend
from serve.events.config import EventsConfig
from serve.events.sqlite_store import SqliteStore
from serve.pipeline.source import Source
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import Release, ReleaseError
from serve.rollout.denylist import deny, restore
from tests.conformance.events import now_us

pytestmark = pytest.mark.slow

NUM_CANDIDATES = 100


@pytest.fixture(scope="module")
def storage(tiny: Config) -> Folder:
    return Folder.of(tiny.storage.root)


@pytest.fixture(scope="module")
def written(release: Release, storage: Folder) -> Folder:
    return recommend(RecommendConfig(k=5, part_size=100), release.id, NUM_CANDIDATES, storage)


def tables(folder: Folder) -> list[pa.Table]:
    return [folder.read_table(name) for name in sorted(folder.read_json(MANIFEST)["files"])]


def test_every_user_once_and_nothing_seen(written: Folder, release: Release) -> None:
    users = release.parts.users.ids
    table = pa.concat_tables(tables(written))
    assert len(tables(written)) == -(-len(users.values) // 100)
    assert table["user_id"].combine_chunks().equals(users.values)
    for user_id, item_ids in zip(table["user_id"].to_pylist(), table["item_ids"].to_pylist(), strict=True):
        seen = release.parts.seen.of_user(users.row(user_id))
        assert len(set(item_ids)) == 5
        assert not {release.parts.items.ids.row(item) for item in item_ids} & set(seen.tolist())


def test_scores_fall(written: Folder) -> None:
    for table in tables(written):
        assert (np.diff(np.array(table["scores"].to_pylist()), axis=1) <= 0).all()


def test_again_only_what_is_missing_is_done(written: Folder, release: Release, storage: Folder) -> None:
    kept, lost = (Path(written.path) / f"part-0000{number}.parquet" for number in (0, 1))
    before, content = kept.stat().st_mtime_ns, lost.read_bytes()
    lost.unlink()
    (Path(written.path) / MANIFEST).unlink()
    said: list[str] = []
    again = recommend(RecommendConfig(k=5, part_size=100), release.id, NUM_CANDIDATES, storage, said.append)
    assert (again, len(said), said[0].split(",")[0]) == (written, 1, "recommend: 100 users")
    assert kept.stat().st_mtime_ns == before
    assert lost.read_bytes() == content
    recommend(RecommendConfig(k=5, part_size=100), release.id, NUM_CANDIDATES, storage, said.append)
    assert said[1] == f"recommend: {written} is already there"


def test_a_list_of_users_unknown_ones_among_them(release: Release, storage: Folder, tmp_path: Path) -> None:
    known = release.parts.users.ids.values[0].as_py()
    pq.write_table(pa.table({"user_id": ["nobody", known, known]}), tmp_path / "users.parquet")
    config = RecommendConfig(k=3, users=str(tmp_path / "users.parquet"))
    (table,) = tables(recommend(config, release.id, NUM_CANDIDATES, storage))
    assert table["user_id"].to_pylist() == ["nobody", known]
    assert table["source"].to_pylist()[0] == "popular"


def test_mistakes_are_named(storage: Folder, release: Release, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="no such release"):
        recommend(RecommendConfig(), "another", NUM_CANDIDATES, storage)
    with pytest.raises(ReleaseError, match=r"run python -m serve\.promote"):
        ReleaseRegistry.of(Folder.of(str(tmp_path))).resolve(None)
    with pytest.raises(ValueError, match=r"recommend\.k: 101 must lie in 1\.\.100"):
        RecommendConfig(k=101)


def test_withdrawn_items_are_left_out_and_others_come_instead(
    written: Folder, release: Release, storage: Folder
) -> None:
    registry = ReleaseRegistry.of(storage)
    before = pa.concat_tables(tables(written))["item_ids"].to_pylist()
    gone = {before[0][0], before[1][0]}
    deny(registry, gone, "recalled", 5)
    try:
        folder = recommend(RecommendConfig(k=5, part_size=100), release.id, NUM_CANDIDATES, storage)
    finally:
        restore(registry, gone, 5)
    after = pa.concat_tables(tables(folder))["item_ids"].to_pylist()
    for old, new in zip(before, after, strict=True):
        assert len(set(new)) == 5
        assert not set(new) & gone
        assert [item for item in new if item in old] == [item for item in old if item in new], "in the order of before"


def test_items_that_are_recalled_meanwhile_leave_no_complete_files(
    written: Folder, release: Release, storage: Folder
) -> None:
    registry, gone = ReleaseRegistry.of(storage), tables(written)[0]["item_ids"][0].as_py()[0]
    before = {folder.name for folder in (storage / "recommendations").subfolders()}

    def recalls(_: str) -> None:
        deny(registry, [gone], "recalled", 5)

    try:
        with pytest.raises(ReleaseError, match=f"items: {gone} was recalled meanwhile .* without a manifest"):
            recommend(RecommendConfig(k=4, part_size=100), release.id, NUM_CANDIDATES, storage, recalls)
    finally:
        restore(registry, [gone], 5)
    (begun,) = (one for one in (storage / "recommendations").subfolders() if one.name not in before)
    assert not begun.exists(MANIFEST)


def test_a_user_who_is_forgotten_is_taken_out_of_the_files_that_are_there(
    release: Release, storage: Folder, own_events: EventsConfig
) -> None:
    """First while they are written, and then when they are complete; each time one file of several is made anew."""
    first, second = (release.parts.users.ids.values[row].as_py() for row in (150, 20))
    config, store, said = RecommendConfig(k=3, part_size=100), SqliteStore(own_events), list[str]()

    def forgets(line: str) -> None:
        said.append(line)
        if len(said) == 1:
            store.forget(first, now_us())

    with pytest.raises(ReleaseError, match=r"users: 1 of them was forgotten meanwhile, .* Run the command again"):
        recommend(config, release.id, NUM_CANDIDATES, storage, forgets, own_events)
    folder = recommend(config, release.id, NUM_CANDIDATES, storage, said.append, own_events)
    assert [line.split(",")[0] for line in said if "users/s" in line][3:] == ["recommend: 100 users"]
    digests = folder.read_json(MANIFEST)["files"]
    store.forget(second, now_us())
    assert recommend(config, release.id, NUM_CANDIDATES, storage, said.append, own_events) == folder
    assert any(f"1 of 3 files in {folder} are made anew" in line for line in said)
    changed = {name for name, digest in folder.read_json(MANIFEST)["files"].items() if digest != digests[name]}
    assert changed == {"part-00000.parquet"}
    rows = {row["user_id"]: row["source"] for table in tables(folder) for row in table.to_pylist()}
    assert {rows[first], rows[second]} == {Source.popular.value}
    store.close()

"""The commands of an operator: releases, rollback, verify, prune. Each may be run again, also after a kill."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

import pytest

from conf.entry import FOLDER
from conf.schema import Config
from data.artifacts.folders import MANIFEST, Folder
from data.artifacts.seals import NotSealed
from serve.index.collection import list_collections, write_collection
from serve.index.config import IndexConfig
from serve.index.connection import connected
from serve.releases.in_progress import Operation
from serve.releases.listing import age, list_releases
from serve.releases.pointer import PointerError
from serve.releases.prune import Pruned, prune
from serve.releases.registry import IN_PROGRESS, ReleaseRegistry
from serve.releases.release import Release, ReleaseError
from serve.releases.verify import verify

pytestmark = pytest.mark.slow

NAMES = ("first", "second", "third", "fourth")


def silent(_: str) -> None:
    pass


@pytest.fixture
def registry(release: Release, tmp_path: Path) -> ReleaseRegistry:
    """Four releases, copies of the real one, made a minute after each other; their collections do not exist."""
    for minute, name in enumerate(NAMES):
        folder = tmp_path / "releases" / name
        shutil.copytree(release.parts.folder.path, folder)
        manifest = json.loads((folder / MANIFEST).read_text())
        manifest |= {"created_at": f"2026-01-01T00:0{minute}:00+00:00", "collection": f"twotower_ray_{name}"}
        (folder / MANIFEST).write_text(json.dumps(manifest | {"index_address": f"{tmp_path}/milvus.db"}))
    return ReleaseRegistry.of(Folder.of(str(tmp_path)))


@pytest.fixture
def index(tmp_path: Path) -> IndexConfig:
    return IndexConfig(uri=str(tmp_path / "milvus.db"))


def collection_of(index: IndexConfig, release: Release, name: str) -> str:
    """A collection with three of the release's items."""
    table = release.parts.items.table.slice(0, 3)
    table = table.append_column("vector", [[[0.0, 1.0]] * 3])
    write_collection(index, f"twotower_ray_{name}", [table], release.parts.items.features, 2)
    return f"twotower_ray_{name}"


def collections(index: IndexConfig) -> list[str]:
    with connected(index) as client:
        return list_collections(client, index)


def test_rolling_back_is_done_once(registry: ReleaseRegistry) -> None:
    registry.promote("first")
    registry.promote("second")
    live = registry.rollback()
    assert (live.release, live.rolled_back) == ("first", "second")
    assert registry.rollback() == live, "again, or by another operator: nothing more"
    registry.promote("third")
    assert registry.rollback().release == "first"


def test_operators_at_the_same_time_roll_back_once(registry: ReleaseRegistry) -> None:
    for name in NAMES:
        registry.promote(name)
    found: list[str] = []
    threads = [Thread(target=lambda: found.append(registry.rollback().release)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["third"] * 8


def test_there_is_nothing_to_roll_back_to(registry: ReleaseRegistry) -> None:
    with pytest.raises(PointerError, match="no release is live: there is nothing to roll back"):
        registry.rollback()
    registry.promote("first")
    with pytest.raises(PointerError, match=r"release first: none was live before it; run python -m serve\.promote"):
        registry.rollback()
    live = registry.promote("second")
    registry.path("first").delete()
    with pytest.raises(ReleaseError, match="'first': no such release"):
        registry.rollback()
    assert registry.live() == live


def test_the_table_says_what_each_release_is(registry: ReleaseRegistry) -> None:
    registry.promote("first")
    registry.promote("second")
    registry.promote("third")
    registry.rollback()
    rows = list_releases(registry)
    assert [row["release"] for row in rows] == list(reversed(NAMES))
    assert {row["release"]: (row["state"], row["traffic"]) for row in rows} == {
        "first": ("", 0.0), "second": ("live", 1.0), "third": ("rolled back", 0.0), "fourth": ("", 0.0),
    }  # fmt: skip
    assert set(rows[0]["metrics"]) == {"recall@20", "ndcg@20"}


@pytest.mark.parametrize(("minutes", "said"), [(0, "now"), (12, "12 min"), (130, "2 h"), (60 * 24 * 3, "3 d")])
def test_ages(minutes: int, said: str) -> None:
    now = datetime(2026, 2, 1, tzinfo=UTC)
    assert age(datetime.fromtimestamp(now.timestamp() - 60 * minutes, UTC).isoformat(), now) == said


def test_a_sound_release_verifies(tiny: Config, release: Release) -> None:
    said: list[str] = []
    registry = ReleaseRegistry.of(Folder.of(tiny.storage.root))
    found = verify(tiny.index, registry, release.id, said.append)
    assert found == {"release": release.id, "num_items": release.manifest["num_items"], "index_recall@20": 1.0}
    assert said[-1].startswith(f"verify: release {release.id} is sound")


def test_what_is_wrong_with_a_release_is_said(registry: ReleaseRegistry, index: IndexConfig, release: Release) -> None:
    with pytest.raises(ReleaseError, match=r"twotower_ray_first: is not in Milvus at .*; .* release=first"):
        verify(index, registry, "first", silent)
    collection_of(index, release, "first")
    with pytest.raises(ReleaseError, match="twotower_ray_first: holds 3 items"):
        verify(index, registry, "first", silent)
    path = Path(registry.path("second").path) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(NotSealed, match=r"model\.safetensors: missing or changed"):
        verify(index, registry, "second", silent)


def test_pruning_keeps_the_newest_and_what_is_in_use(
    registry: ReleaseRegistry, index: IndexConfig, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMES:
        collection_of(index, release, name)
    with connected(index) as client:
        client.create_collection("somebody_elses", dimension=2, timeout=10)
    for name in ("first", "second"):
        registry.promote(name)
    unloaded: list[str] = []
    monkeypatch.setattr("serve.releases.prune.unload", lambda _, names: unloaded.extend(names))
    assert prune(index, registry, 1, silent).releases == ["third"]
    assert registry.ids() == ["first", "second", "fourth"]
    assert collections(index) == ["twotower_ray_first", "twotower_ray_fourth", "twotower_ray_second"]
    with connected(index) as client:
        assert client.has_collection("somebody_elses", timeout=10)
    assert unloaded == ["twotower_ray_fourth"], "kept, and not in use"
    assert prune(index, registry, 1, silent) == Pruned([], [])


def test_keeping_none_is_refused(registry: ReleaseRegistry, index: IndexConfig) -> None:
    with pytest.raises(ValueError, match="keep: 0 must be at least 1"):
        prune(index, registry, 0)


def dead_process(code: str, *arguments: str) -> None:
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=FOLDER.parent, timeout=60)
    assert done.returncode == -9


MARK_AND_DIE = """
import os, signal, sys
from data.artifacts.folders import Folder
from serve.releases.in_progress import Operation
from serve.releases.registry import ReleaseRegistry
ReleaseRegistry.of(Folder.of(sys.argv[1])).in_progress.set("dead", "twotower_ray_dead", Operation.publish)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_dead_process_left_is_removed(
    registry: ReleaseRegistry, index: IndexConfig, release: Release, tmp_path: Path
) -> None:
    collection_of(index, release, "dead")
    dead_process(MARK_AND_DIE, str(tmp_path))
    (tmp_path / "releases" / ".dead.0123abcd.partial").mkdir()
    found = prune(index, registry, 4, silent, grace_s=3600)
    assert (found.releases, found.leftovers) == ([], ["twotower_ray_dead"])
    time.sleep(0.01)
    assert prune(index, registry, 4, silent, grace_s=0).leftovers == [".dead.0123abcd.partial"]
    assert collections(index) == []
    assert registry.in_progress.all() == []


def test_what_is_being_published_stays(registry: ReleaseRegistry, index: IndexConfig, release: Release) -> None:
    collection_of(index, release, "fifth")
    registry.in_progress.set("fifth", "twotower_ray_fifth", Operation.publish)
    assert prune(index, registry, 4, silent).leftovers == []
    assert collections(index) == ["twotower_ray_fifth"]


def test_a_prune_that_died_is_finished_by_the_next(
    registry: ReleaseRegistry, index: IndexConfig, release: Release
) -> None:
    """It died between the folder and the collection."""
    collection_of(index, release, "first")
    registry.in_progress.set("first", "twotower_ray_first", Operation.prune)
    registry.path("first").delete()
    assert prune(index, registry, 4, silent).leftovers == ["twotower_ray_first"]
    assert collections(index) == []


def test_a_release_that_was_sealed_after_all_keeps_its_collection(
    registry: ReleaseRegistry, index: IndexConfig, release: Release, tmp_path: Path
) -> None:
    """Its process died between the seal and the end."""
    collection_of(index, release, "first")
    dead_process(MARK_AND_DIE.replace('"dead", "twotower_ray_dead"', '"first", "twotower_ray_first"'), str(tmp_path))
    assert prune(index, registry, 4, silent).leftovers == []
    assert collections(index) == ["twotower_ray_first"]
    assert not list((tmp_path / "releases" / IN_PROGRESS).glob("*.json"))


@pytest.mark.parametrize("verb", ["releases", "rollback", "verify", "prune"])
def test_an_operator_sees_lines_not_tracebacks(verb: str, tmp_path: Path, runs: Callable[..., tuple[int, str]]) -> None:
    status, said = runs(f"serve.{verb}", f"storage.root={tmp_path}")
    assert "Traceback" not in said
    assert status == (0 if verb in ("releases", "prune") else 2)
    wanted = {
        "releases": "no release yet; run python -m serve.publish",
        "rollback": "no release is live: there is nothing to roll back",
        "verify": "no release is live; name one, or run python -m serve.promote",
        "prune": "releases left: 0",
    }
    assert wanted[verb] in said


@pytest.fixture
def runs() -> Callable[..., tuple[int, str]]:
    """An entry point in a process of its own: its status and all that it printed."""

    def run(module: str, *overrides: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", module, *overrides], cwd=FOLDER.parent, capture_output=True, text=True, timeout=120
        )
        return done.returncode, done.stdout + done.stderr

    return run

"""Small files of the registry that are cut or hold something else: named and left out, or an error with the cure."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from conf.schema import load
from data.artifacts.errors import UserError
from data.artifacts.folders import MANIFEST, Folder
from data.artifacts.json_text import DamagedFile
from data.artifacts.seals import sealing
from serve import withdraw
from serve.experiments.assignment import Experiment, TrafficConfig
from serve.index.config import IndexConfig
from serve.releases.audit.approvals import APPROVALS, Approvals, NeedsApproval
from serve.releases.audit.history import HISTORY, has_run, read_history
from serve.releases.in_progress import Operation
from serve.releases.lineage import find_releases
from serve.releases.listing import list_releases
from serve.releases.pointer import LivePointer
from serve.releases.prune import prune
from serve.releases.registry import DENYLISTS, IN_PROGRESS, ReleaseRegistry
from serve.releases.release import ReleaseError
from serve.rollout.denylist import deny, read_denylist, restore
from serve.rollout.promotion import promote, split
from serve.rollout.two_phase import roll_back, roll_out, roll_out_shares

DESCRIBED = {
    "kind": "release", "dataset": {"name": "log", "fingerprint": "d1"}, "num_items": 9, "k": 20, "metrics": {},
    "checkpoint": None, "checkpoint_fingerprint": "c1", "config": {"seed": 0}, "collection": "c",
}  # fmt: skip

DAMAGES = [b"", b"{", b"[]", b"null", b'"text"', b"\xff", b'{"kind": "rel']


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReleaseRegistry:
    """Three releases that nobody opens, of which `b` is live; Milvus drops and unloads nothing."""
    for name in ("drop", "unload"):
        monkeypatch.setattr(f"serve.releases.prune.{name}", lambda *_: None)
    registry = ReleaseRegistry.of(Folder.of(str(tmp_path)))
    for day, name in enumerate("abc", start=1):
        manifest = DESCRIBED | {"created_at": f"2026-01-0{day}T00:00:00+00:00"}
        with sealing(registry.path(name), manifest) as folder:
            folder.write_json("rows.json", [name])
    registry.promote("a")
    registry.promote("b")
    return registry


def live_of(registry: ReleaseRegistry) -> LivePointer:
    live = registry.live()
    assert live is not None
    return live


def pruned(registry: ReleaseRegistry, keep: int = 1) -> list[str]:
    return prune(IndexConfig(), registry, keep, lambda _: None).releases


@pytest.mark.parametrize("name", ["c/", "./c", "../releases/c", "c/.", "", ".", ".history", "a/../c", "c\\", "c\0"])
def test_no_other_path_to_a_release_is_its_id(registry: ReleaseRegistry, name: str) -> None:
    before = registry.live()
    commands: list[Callable[[], object]] = [
        lambda: registry.manifest(name),
        lambda: registry.open(name),
        lambda: promote(IndexConfig(), registry, name, 1),
        lambda: promote(IndexConfig(), registry, name, 1, percent=10),
        lambda: registry.promote(name),
        lambda: split(IndexConfig(), registry, TrafficConfig(shares={name: 0.1}), 1),
    ]
    for command in commands:
        with pytest.raises(ReleaseError, match=r"no such release \(there are: a, b, c\)"):
            command()
    assert registry.live() == before


def test_a_pointer_that_an_earlier_version_wrote_with_a_slash_loses_no_release(registry: ReleaseRegistry) -> None:
    pointer = registry.folder.read_json("live.json")
    registry.folder.write_json("live.json", pointer | {"release": "a/", "previous": None})
    with pytest.raises(ReleaseError, match="'a/': no such release"):
        pruned(registry)
    assert registry.ids() == ["a", "b", "c"]


@pytest.mark.parametrize("content", [*DAMAGES, b'{"kind": "release"}'])
def test_a_damaged_manifest_blocks_no_other_release(
    registry: ReleaseRegistry, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    registry.path("c").write_bytes(MANIFEST, content)
    assert [row["release"] for row in list_releases(registry)] == ["b", "a"]
    assert f"c/{MANIFEST}: " in caplog.text
    assert list(find_releases(registry, "d1")) == ["b", "a"]
    with pytest.raises(ReleaseError, match="'nope': no such release"):
        registry.manifest("nope")
    if content != b'{"kind": "release"}':
        with pytest.raises(ReleaseError, match=rf"release c: .*c/{MANIFEST}: not the manifest of a release"):
            registry.manifest("c")
        assert registry.promote("a").release == "a"
        assert pruned(registry) == []


def test_what_was_not_recorded_is_not_found(registry: ReleaseRegistry) -> None:
    with pytest.raises(ReleaseError, match="find: 'None' begins no release's"):
        find_releases(registry, "None")


@pytest.mark.parametrize("content", [*DAMAGES, b'{"i1": "recalled"}', b'["i1"]', None])
def test_a_damaged_denylist_is_never_taken_for_an_empty_one(registry: ReleaseRegistry, content: bytes | None) -> None:
    live = deny(registry, ["i1"], "recalled", 0).live
    assert live.denylist is not None
    folder = registry.folder / DENYLISTS
    if content is None:
        folder.delete_file(live.denylist)
    else:
        folder.write_bytes(live.denylist, content)
    readers: list[Callable[[], object]] = [
        lambda: read_denylist(registry, live),
        lambda: registry.read_denylist(live.denylist),
        lambda: deny(registry, ["i2"], "recalled", 0),
        lambda: restore(registry, ["i1"], 0),
        lambda: withdraw.task(load([f"storage.root={registry.folder.path.rsplit('/', 1)[0]}"])),
    ]
    for reader in readers:
        with pytest.raises(UserError, match=rf"{DENYLISTS}/{live.denylist}: .*restore it from a copy"):
            reader()
    assert registry.live() == live
    assert registry.promote("a").denylist == live.denylist, "what is live can still change"


@pytest.mark.parametrize("content", [*DAMAGES, b"{}", b'{"promoted_at": "x"}', b'{"at": 5}'])
def test_a_damaged_entry_of_the_history_is_left_out(
    registry: ReleaseRegistry, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    before = read_history(registry.folder, 2)
    (registry.folder / HISTORY).write_bytes("x.json", content)
    assert read_history(registry.folder, 2) == before
    assert f"{HISTORY}/x.json: not an entry of the history" in caplog.text
    assert not has_run(registry.folder, "home", "2026-01-01")


@pytest.mark.parametrize("content", [*DAMAGES, b'{"release": "", "collection": "c", "fate": "pruned", "since": 0}'])
def test_a_damaged_marker_stays_and_prune_goes_on(
    registry: ReleaseRegistry, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (registry.folder / IN_PROGRESS).create()
    (registry.folder / IN_PROGRESS).write_bytes("x.json", content)
    assert pruned(registry) == []
    assert f"{IN_PROGRESS}/x.json: not a marker" in caplog.text
    assert registry.ids() == ["a", "b", "c"]


def test_a_marker_of_a_release_whose_manifest_is_damaged_deletes_nothing(registry: ReleaseRegistry) -> None:
    registry.in_progress.set("c", "collection-of-c", Operation.prune)
    registry.path("c").write_bytes(MANIFEST, b"{")
    assert pruned(registry) == []
    assert registry.path("c").exists("rows.json")
    assert len(registry.in_progress.all()) == 1


@pytest.mark.parametrize("content", [None, b"{"])
def test_a_live_release_that_is_gone_or_damaged_bars_no_way_out(
    registry: ReleaseRegistry, content: bytes | None
) -> None:
    said: list[str] = []
    if content is None:
        registry.path("b").delete()
    else:
        registry.path("b").write_bytes(MANIFEST, content)
    begun = Experiment("x", {"c": 0.1}, "2026-01-31T09:00:00.000+00:00")
    assert roll_out_shares(registry, begun, 1, said.append).live.others == ["c"]
    assert set(read_denylist(registry, deny(registry, ["i1"], "recalled", 0).live)) == {"i1"}
    assert split(IndexConfig(), registry, TrafficConfig(), 1).live.others == []
    with pytest.raises(ReleaseError, match="'nope': no such release"):
        registry.promote("nope")
    assert roll_out(registry, "c", 1, said.append).live.release == "c"
    assert ["the live release is damaged" in line and "b" in line for line in said] == [True, True]
    with pytest.raises(ReleaseError, match="release '?b'?: "):
        roll_back(registry, 1)
    assert roll_out(registry, "a", 1, said.append).live.release == "a"
    assert roll_back(registry, 1).live.release == "c"
    assert len(said) == 2


@pytest.mark.parametrize("content", [*DAMAGES, b'{"require": "promote"}'])
def test_a_damaged_policy_is_never_taken_for_one_that_asks_for_nothing(
    registry: ReleaseRegistry, content: bytes
) -> None:
    approvals = Approvals(registry.folder)
    approvals.require(["withdraw"])
    approvals.folder.write_bytes("policy.json", content)
    with pytest.raises(DamagedFile, match=rf"{APPROVALS}/policy\.json: not a policy of approvals"):
        deny(registry, ["i1"], "recalled", 0)
    with pytest.raises(DamagedFile, match=r"policy\.json"):
        approvals.require([])
    assert live_of(registry).denylist is None


@pytest.mark.parametrize("content", DAMAGES)
def test_a_damaged_request_can_be_asked_for_again(registry: ReleaseRegistry, content: bytes) -> None:
    approvals = Approvals(registry.folder)
    approvals.require(["withdraw"])
    with pytest.raises(NeedsApproval):
        deny(registry, ["i1"], "recalled", 0)
    (request,) = approvals.waiting()
    approvals.folder.write_bytes(f"{request.id}.json", content)
    assert approvals.waiting() == []
    with pytest.raises(NeedsApproval):
        deny(registry, ["i1"], "recalled", 0)
    assert [one.id for one in approvals.waiting()] == [request.id]
    assert json.loads(approvals.folder.read_bytes(f"{request.id}.json"))["what"]["items"] == ["i1"]

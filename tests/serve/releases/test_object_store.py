"""The registry on an object store (moto's S3): writers that meet lose nothing."""

import threading

import pytest

from data.artifacts.folders import Folder
from data.artifacts.seals import sealing
from serve.releases.building.restore import complete
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import ReleaseError
from serve.rollout.denylist import deny, read_denylist
from tests.data.artifacts.failing import fail_at
from tests.data.artifacts.two_writers import interrupting

REQUESTS = 4
"""More than an update of the pointer sends to the object store: the pointer is read, then replaced."""


@pytest.fixture
def registry(bucket: Folder) -> ReleaseRegistry:
    """A registry in which release `a` is live, and `b` and `c` exist."""
    registry = ReleaseRegistry.of(bucket)
    for name in "abc":
        with sealing(registry.path(name), {"kind": "release", "created_at": name}) as staging:
            staging.write_json("rows.json", [name])
    registry.promote("a")
    return registry


@pytest.mark.parametrize("step", range(1, REQUESTS + 1))
def test_no_update_is_lost_where_two_writers_meet(
    registry: ReleaseRegistry, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def recall_another() -> None:
        deny(registry, ["theirs"], "recalled", 1)
        registry.promote("b")

    interrupted = interrupting(monkeypatch, registry.folder, step, recall_another)
    deny(registry, ["ours"], "recalled", 1)
    live = registry.live()
    assert set(read_denylist(registry, live)) == ({"ours", "theirs"} if interrupted.met else {"ours"})
    assert live.release == ("b" if interrupted.met else "a")
    assert interrupted.met == (step <= 2)  # the steps are all that there are: a third request comes of a conflict only


def test_recalls_of_many_operators_at_once_all_hold(registry: ReleaseRegistry) -> None:
    threads = [threading.Thread(target=deny, args=(registry, [str(i)], "recalled", 1)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert set(read_denylist(registry, registry.live())) == {str(i) for i in range(6)}


def test_rollback_and_promotion_at_once_end_in_one_of_the_two_orders(registry: ReleaseRegistry) -> None:
    registry.promote("b")
    threads = [
        threading.Thread(target=registry.rollback),
        threading.Thread(target=registry.promote, args=("c",)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    live = registry.live()
    assert (live.release, live.previous) == ("c", "a") if live.release == "c" else live.release == "b"


def test_a_release_that_could_not_be_sealed_anew_completely_comes_back(
    registry: ReleaseRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`serve.publish release=ID` begins with it: it needs the release's own files."""
    said: list[str] = []
    complete(registry, "a", said.append)
    manifest = {"kind": "release", "created_at": "a", "collection": "new"}
    with (
        monkeypatch.context() as patch,
        pytest.raises(OSError, match="does not answer"),
        sealing(registry.path("a"), manifest) as staging,
    ):
        staging.write_json("rows.json", ["anew"])
        fail_at(patch, 3, for_good=True)  # the manifests are written and removed, and no file is overwritten yet
    with pytest.raises(ReleaseError, match="'a': no such release"):
        registry.manifest("a")
    for _ in range(2):
        complete(registry, "a", said.append)
    assert (registry.manifest("a")["collection"], registry.path("a").read_json("rows.json")) == ("new", ["anew"])
    assert len(said) == 1

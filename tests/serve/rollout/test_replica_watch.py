"""Heartbeats that are stale all at once are no deaths: the clock has jumped, or nobody could write for a while."""

import os
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from data.artifacts.folders import Folder
from serve.releases.pointer import LivePointer
from serve.rollout import replica_watch
from serve.rollout.guard import CanaryGuard
from serve.rollout.heartbeats import HEARTBEAT_TIMEOUT_S, Heartbeat, ReplicaRegistry
from serve.rollout.replica_watch import ReplicaWatch, expire
from serve.rollout.waiting import wait_for_followers
from tests.serve.rollout.test_guard import CONFIG, experiment, storage

__all__ = ["storage"]


@pytest.fixture
def heartbeats(tmp_path: Path) -> ReplicaRegistry:
    return ReplicaRegistry.of(Folder.of(str(tmp_path / "releases")))


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> float:
    """A short time in place of that in which replicas write their next heartbeats."""
    monkeypatch.setattr(replica_watch, "CONFIRMED_AFTER_S", 0.2)
    return 0.2


def written(heartbeats: ReplicaRegistry, heartbeat: Heartbeat, age_s: float = 0.0) -> None:
    heartbeats.write(heartbeat)
    path = Path(heartbeats.folder.path) / f"{heartbeat.replica}.json"
    os.utime(path, times=(time.time(), time.time() - age_s))


def names(heartbeats: list[Heartbeat]) -> list[str]:
    return sorted(heartbeat.replica for heartbeat in heartbeats)


def test_a_heartbeat_of_a_later_version_is_read(heartbeats: ReplicaRegistry) -> None:
    """Its fields that this version does not know are ignored, by whoever looks: a promotion, the guard."""
    later = Heartbeat(replica="later", current="r", lease_s=3.0)
    heartbeats.folder.create()
    heartbeats.folder.write_json("later.json", later.as_json() | {"zone": "b", "holds_more": {"r": [1]}})
    written(heartbeats, Heartbeat(replica="now"))
    found = {each.heartbeat.replica: each.heartbeat for each in heartbeats.read_all(time.time())}
    assert found.keys() == {"later", "now"}
    assert found["later"] == later
    assert names(heartbeats.alive(heartbeats.clock())) == ["later", "now"]


@dataclass(frozen=True)
class Meeting(Folder):
    """A folder whose files can be read only two at a time."""

    readers: threading.Barrier = field(default_factory=lambda: threading.Barrier(2), compare=False)

    def read_bytes(self, name: str) -> bytes:
        self.readers.wait(60)
        return super().read_bytes(name)


def test_heartbeats_are_read_at_the_same_time(heartbeats: ReplicaRegistry) -> None:
    for n in range(4):
        written(heartbeats, Heartbeat(replica=f"r{n}"))
    found = ReplicaRegistry(Meeting(heartbeats.folder.filesystem, heartbeats.folder.path)).read_all(time.time())
    assert {each.heartbeat.replica for each in found} == {"r0", "r1", "r2", "r3"}


STALE_S = HEARTBEAT_TIMEOUT_S + 5


def test_a_jump_of_the_clock_ends_no_trial(storage: Folder, heartbeats: ReplicaRegistry, soon: float) -> None:
    running, guard = experiment(storage), CanaryGuard(CONFIG, storage)
    replicas = [Heartbeat(replica=f"here-{n}", experiment=running.key) for n in range(3)]
    replicas += [Heartbeat(replica=f"elsewhere-{n}", host="elsewhere", experiment=running.key) for n in range(3)]
    for replica in replicas:
        written(heartbeats, replica, STALE_S)
    assert guard.check() is None
    for replica in replicas:
        heartbeats.write(replica)
    time.sleep(soon)
    assert guard.check() is None
    for replica in replicas:
        written(heartbeats, replica, STALE_S)
    assert guard.check() is None, "the stale heartbeats are others than before"
    time.sleep(soon)
    heartbeats.write(Heartbeat(replica="lives", host="elsewhere", current="old", holds={"old": 1.0}))
    reason = guard.check()
    assert reason is not None
    assert reason.startswith("guard: 6 replicas have died"), "they have written nothing for too long"


@dataclass
class Dying:
    """A guard, and replicas of a running experiment on machines whose processes it cannot look up."""

    storage: Folder
    heartbeats: ReplicaRegistry
    soon: float

    def check(self, *of: tuple[str, str, float]) -> str | None:
        """What the guard says to replicas, each with its machine and the age of its heartbeat in seconds.

        A machine that was started again is another one by what follows `@` in its name. A replica whose heartbeat is
        new answers with the live release alone.
        """
        key, guard = experiment(self.storage).key, CanaryGuard(CONFIG, self.storage)
        for replica, machine, age_s in of:
            host, _, namespace = machine.partition("@")
            lives = {"current": "old", "holds": {"old": 1.0}} if age_s == 0 else {"experiment": key}
            values: dict[str, object] = {"replica": replica, "host": host, "pid": 1, "namespace": namespace or None}
            written(self.heartbeats, Heartbeat.of_json(values | lives), age_s)
        assert guard.check() is None, "one look at stale heartbeats proves nothing"
        time.sleep(self.soon)
        return guard.check()


@pytest.fixture
def dying(storage: Folder, heartbeats: ReplicaRegistry, soon: float) -> Dying:
    return Dying(storage, heartbeats, soon)


def test_a_cluster_that_is_replaced_ends_no_trial(dying: Dying) -> None:
    old = [(f"old-{n}", f"pod-{n % 3}", STALE_S + n % 2) for n in range(6)]
    assert dying.check(*old, *[(f"new-{n}", f"pod-{n}", 0.0) for n in range(3, 6)]) is None


def test_a_machine_that_is_started_again_under_its_name_ends_no_trial(dying: Dying) -> None:
    """As by `reboot`: its replicas have died with it, whatever they answered with."""
    old = [(f"old-{n}", "server@boot-1/pid:[1]", STALE_S) for n in range(6)]
    assert dying.check(*old, *[(f"new-{n}", "server@boot-2/pid:[1]", 0.0) for n in range(6)]) is None


def test_replicas_that_die_on_machines_that_live_end_a_trial(dying: Dying) -> None:
    """As of a release that kills its replicas again and again, on a cluster that the guard looks at from elsewhere."""
    reason = dying.check(*[(f"r-{n}", "pod-1", n * STALE_S) for n in range(4)])
    assert reason is not None
    assert reason.startswith("guard: 3 replicas have died in the experiment within 24 h (r-")


def test_deaths_of_long_ago_end_no_trial(dying: Dying) -> None:
    ages_s = (0.0, STALE_S, STALE_S, CONFIG.deaths_within_s + 60)
    assert dying.check(*[(f"r-{n}", "pod-1", age_s) for n, age_s in enumerate(ages_s)]) is None


def test_an_outage_between_two_looks_proves_nothing(heartbeats: ReplicaRegistry, soon: float) -> None:
    written(heartbeats, Heartbeat(replica="elsewhere", host="elsewhere"), STALE_S)
    watch = ReplicaWatch(heartbeats, renews_clock=True)
    assert names(watch.look().alive) == ["elsewhere"]
    time.sleep(soon)
    folder = Path(heartbeats.folder.path)
    folder.rename(folder.with_name("away"))
    folder.write_text("no folder")
    with pytest.raises(OSError, match="replicas"):
        watch.look()
    folder.unlink()
    folder.with_name("away").rename(folder)
    assert names(watch.look().alive) == ["elsewhere"]
    time.sleep(soon)
    assert names(watch.look().lost) == ["elsewhere"]


def test_followers_are_waited_for_while_all_heartbeats_are_stale(heartbeats: ReplicaRegistry) -> None:
    """Without it, a recall would return while the replica still answers with the item."""
    live = LivePointer("r", None, "now", denylist="new.json")
    written(heartbeats, Heartbeat(replica="here", current="r", holds={"r": 1.0}, lease_s=60), STALE_S)
    follows = Heartbeat(replica="here", current="r", holds={"r": 1.0}, lease_s=60, denylist="new.json")
    has_followed = threading.Event()

    def follow() -> None:
        has_followed.set()
        heartbeats.write(follows)

    following = threading.Timer(0.5, follow)
    following.start()
    assert wait_for_followers(ReplicaWatch(heartbeats), live, 10) == []
    assert has_followed.is_set()
    following.join()


def test_prune_removes_no_heartbeat_that_is_about_to_be_renewed(heartbeats: ReplicaRegistry, soon: float) -> None:
    lives = Heartbeat(replica="lives", host="elsewhere")
    written(heartbeats, lives, STALE_S)
    written(heartbeats, Heartbeat(replica="died", host="elsewhere"), STALE_S)
    writing = threading.Timer(soon / 4, heartbeats.write, [lives])
    writing.start()
    expire(heartbeats)
    writing.join()
    assert names(heartbeats.alive(heartbeats.clock())) == ["lives"]
    assert not heartbeats.folder.exists("died.json")


def test_a_running_process_of_this_host_is_alive_at_one_look(heartbeats: ReplicaRegistry) -> None:
    written(heartbeats, Heartbeat(replica="here"), STALE_S)
    written(heartbeats, Heartbeat(replica="elsewhere", host="elsewhere"), STALE_S)
    assert names(heartbeats.alive(heartbeats.clock())) == ["here"]


def test_a_process_of_another_pid_namespace_is_not_dead_as_its_id_is_free_here(
    heartbeats: ReplicaRegistry,
) -> None:
    """Containers often share a host name, and each counts its processes from 1."""
    dead = os.spawnlp(os.P_WAIT, "true", "true") or 2**22 - 3
    for number in range(40):
        heartbeats.write(Heartbeat(replica=f"container-{number:02}", pid=dead, namespace="of another container"))
    heartbeats.write(Heartbeat(replica="here", pid=dead))
    heartbeats.folder.write_json("before.json", {"replica": "before", "host": socket.gethostname(), "pid": dead})
    alive = sorted(heartbeat.replica for heartbeat in heartbeats.alive(heartbeats.clock()))
    assert alive == ["before", *(f"container-{number:02}" for number in range(40))]
    assert [heartbeat.replica for heartbeat in ReplicaWatch(heartbeats).look().dead] == ["here"]


def test_a_process_that_has_the_id_of_a_dead_replica_now_is_not_taken_for_it(heartbeats: ReplicaRegistry) -> None:
    """A machine gives the ids of processes that have ended to others: sooner or later, one of these lives."""
    heartbeats.write(Heartbeat(replica="here"))
    written(heartbeats, Heartbeat(replica="died", started="1"), STALE_S)
    assert names(heartbeats.alive(heartbeats.clock())) == ["here"]
    watch = ReplicaWatch(heartbeats).look()
    assert (names(watch.alive), names(watch.dead)) == (["here"], ["died"])


@pytest.mark.parametrize("content", [b"", b'{"repl', b"[]", b"null", b'{"replica": "cut", "holds": null}', b"\xff"])
def test_a_damaged_heartbeat_is_of_a_replica_that_may_answer_until_prune_removes_it(
    heartbeats: ReplicaRegistry, soon: float, content: bytes
) -> None:
    written(heartbeats, Heartbeat(replica="here"))
    heartbeats.folder.write_bytes("cut.json", content)
    assert names(heartbeats.alive(heartbeats.clock())) == ["cut", "here"]
    named = {heartbeat.replica: str(heartbeat) for heartbeat in ReplicaWatch(heartbeats).look().alive}
    assert "cut.json: not a heartbeat" in named["cut"]
    expire(heartbeats)
    assert heartbeats.folder.exists("cut.json"), "a replica that lives may be about to write it again"
    at = time.time() - STALE_S
    os.utime(f"{heartbeats.folder.path}/cut.json", times=(at, at))
    expire(heartbeats)
    assert names(heartbeats.alive(heartbeats.clock())) == ["here"]
    assert not heartbeats.folder.exists("cut.json")

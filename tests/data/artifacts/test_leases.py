"""Locks and conditional writes on an object store: moto's S3, over HTTP."""

import threading
import time
from collections.abc import Callable

import obstore
import pytest

from data.artifacts import leases
from data.artifacts.conditional_writes import ConditionalWrites, Version, conditional_writes
from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.artifacts.leases import LeaseLost, leased
from data.artifacts.seals import is_sealed, sealing


@pytest.fixture
def store(bucket: Folder) -> ConditionalWrites:
    return conditional_writes(bucket.uri)


@pytest.fixture
def path(bucket: Folder) -> str:
    return f"{bucket.path}/locks/name.lock"


@pytest.fixture
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "LEASE_S", 1.0)
    monkeypatch.setattr(leases, "RENEWAL_S", 0.2)
    monkeypatch.setattr(leases, "POLL_S", 0.05)


def test_an_object_is_created_once(store: ConditionalWrites, path: str) -> None:
    assert store.read(path) is None
    assert store.create(path, b"mine")
    assert store.create(path, b"yours") is None
    assert store.read(path)[0] == b"mine"


def test_an_object_is_replaced_only_at_the_version_that_was_read(store: ConditionalWrites, path: str) -> None:
    first = store.create(path, b"0")
    second = store.replace(path, b"1", first)
    assert second is not None
    assert store.replace(path, b"2", first) is None
    assert store.read(path) == (b"1", second)


def test_a_write_that_is_sent_twice_since_its_answer_was_lost_has_happened(store: ConditionalWrites, path: str) -> None:
    first = store.create(path, b"0")
    assert store.create(path, b"0") == first


def test_the_same_on_a_disk(tmp_path: object) -> None:
    folder = Folder.of(str(tmp_path))
    assert folder.read_versioned("file") is None
    assert folder.replace_if(None, "file", b"0")
    assert not folder.replace_if(None, "file", b"1")
    content, version = folder.read_versioned("file")
    assert content == b"0"
    assert folder.replace_if(version, "file", b"1")
    assert not folder.replace_if(version, "file", b"2")
    assert folder.read_bytes("file") == b"1"


def test_pyarrow_and_conditional_writes_see_the_same_files(bucket: Folder) -> None:
    folder = bucket / "a b+c"
    folder.write_bytes("of arrow", b"1")
    assert folder.read_versioned("of arrow")[0] == b"1"
    assert folder.replace_if(None, "ours", b"2")
    assert folder.read_bytes("ours") == b"2"


def test_one_holds_a_lock_and_the_others_wait(bucket: Folder) -> None:
    inside, most = 0, 0

    def hold() -> None:
        nonlocal inside, most
        with bucket.locked("name"):
            inside += 1
            most = max(most, inside)
            time.sleep(0.05)
            inside -= 1

    threads = [threading.Thread(target=hold) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == 1
    assert not any(thread.is_alive() for thread in threads)


def test_a_holder_that_works_longer_than_a_lease_keeps_it(
    store: ConditionalWrites, path: str, short_leases: None
) -> None:
    with leased(store, path) as lease:
        time.sleep(1.5)
        lease.require()


def test_the_lock_of_a_dead_holder_is_taken_over_and_it_learns_of_that(
    store: ConditionalWrites, path: str, short_leases: None
) -> None:
    stopped = leases.Lease(store, path)
    stopped._acquire()  # and never renews
    stopped.require()
    with leased(store, path) as lease:
        lease.require()
        with pytest.raises(LeaseLost, match="run the command again"):
            stopped.require()
        stopped._release()
        lease.require()


def test_a_failing_block_frees_its_lock(
    store: ConditionalWrites, path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ZeroDivisionError), leased(store, path):
        raise ZeroDivisionError
    monkeypatch.setattr(leases, "LEASE_S", float("inf"))  # a lease that was not freed would be waited for without end
    with leased(store, path):
        assert "waiting for the lock" not in caplog.text


@pytest.mark.parametrize("ignored", ["create", "replace"])
def test_a_store_that_ignores_conditions_is_refused(bucket: Folder, path: str, ignored: str) -> None:
    class Ignoring(ConditionalWrites):
        def _overwrite(self, path: str, content: bytes, *_: Version) -> Version:
            return dict(obstore.put(self._store, self._key(path), content))

    setattr(Ignoring, ignored, Ignoring._overwrite)
    with pytest.raises(ConfigError, match="takes no notice of If-None-Match"), leased(Ignoring(bucket.uri), path):
        pass


def test_a_filesystem_without_locks_is_refused() -> None:
    with pytest.raises(ConfigError, match="storage.root: hdfs:// has no locks"):
        conditional_writes("hdfs://name/path")


def test_a_store_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.artifacts.conditional_writes.RETRY_S", 0)
    silent = ConditionalWrites("s3://key:secret@bucket/x?endpoint_override=127.0.0.1:1&scheme=http&region=us-east-1")
    with pytest.raises(OSError, match="bucket/x/file: ") as caught:
        silent.read("bucket/x/file")
    assert "secret" not in str(caught.value)


def test_a_sealed_folder_on_an_object_store_can_lock(bucket: Folder) -> None:
    with sealing(bucket / "made", {"kind": "dataset"}) as staging:
        staging.write_json("rows.json", [1])
        assert staging.read_versioned("rows.json") is not None
    assert is_sealed(bucket / "made")


def test_retries_end(monkeypatch: pytest.MonkeyPatch, store: ConditionalWrites, path: str) -> None:
    """A renewal that fails is tried again, and the lease is lost only when it has run out."""
    monkeypatch.setattr(leases, "LEASE_S", 1.0)
    monkeypatch.setattr(leases, "RENEWAL_S", 0.1)
    with leased(store, path) as lease:
        replaced: Callable[..., object] = store.replace
        monkeypatch.setattr(store, "replace", _raising)
        time.sleep(0.5)
        lease.require()
        time.sleep(0.7)
        with pytest.raises(LeaseLost):
            lease.require()
        monkeypatch.setattr(store, "replace", replaced)


def _raising(*_: object) -> None:
    raise OSError("no route")


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"holder": 5}'])
def test_a_damaged_lease_is_taken_over_like_that_of_a_dead_holder(
    bucket: Folder, store: ConditionalWrites, path: str, short_leases: None, content: bytes
) -> None:
    store.create(path, content)
    with (bucket / "locks").locked("name") as lock:
        lock.require()

"""Operators who change the keys at the same time lose nothing of each other, on a disk and on an object store."""

import threading
from pathlib import Path

import pytest

from data.artifacts import leases
from data.artifacts.folders import Folder
from data.artifacts.leases import LeaseLost
from serve.access.config import KeyConfig
from serve.access.key_file import KeyFile
from serve.access.keys import KeyRecord
from tests.data.artifacts.two_writers import interrupting


@pytest.fixture(params=["disk", "object store"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> KeyFile:
    above = Folder.of(str(tmp_path)) if request.param == "disk" else request.getfixturevalue("bucket")
    return KeyFile(above / "below", "keys.json")


def names(file: KeyFile) -> list[str]:
    return sorted(record.name for record in file.read())


def test_keys_of_many_operators_at_once_are_all_there(file: KeyFile) -> None:
    file.add("shop", KeyConfig())
    changes = [threading.Thread(target=file.add, args=(f"new{i}", KeyConfig())) for i in range(4)]
    changes.append(threading.Thread(target=file.remove, args=("shop",)))
    for thread in changes:
        thread.start()
    for thread in changes:
        thread.join(120)
    assert names(file) == [f"new{i}" for i in range(4)]


@pytest.mark.parametrize("step", [1, 2])
def test_a_revoked_key_does_not_come_back(bucket: Folder, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One mints a key, is stopped for longer than its lease, and goes on after another has revoked a key."""
    file = KeyFile(bucket / "below", "keys.json")
    file.add("shop", KeyConfig())
    file.add("app", KeyConfig())
    interrupting(monkeypatch, file.folder, step, lambda: file.remove("shop"))
    file.add("other", KeyConfig())
    assert names(file) == ["app", "other"]


def test_who_has_lost_the_lock_writes_nothing(bucket: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    file = KeyFile(bucket / "below", "keys.json")
    file.add("shop", KeyConfig())

    def lose_the_lock(records: list[KeyRecord]) -> list[KeyRecord]:
        monkeypatch.setattr(leases, "LEASE_S", 0.0)
        return [*records, *records]

    with pytest.raises(LeaseLost, match="run the command again"):
        file.update(lose_the_lock)
    assert names(file) == ["shop"]

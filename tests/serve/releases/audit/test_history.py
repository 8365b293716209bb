"""Every operation is recorded with who did it, and can be read again."""

import getpass
import socket
from pathlib import Path
from typing import Any

import pytest

from conf.schema import load
from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.artifacts.operators import _command, begin_command, operator, running_command
from data.artifacts.records.updates import update_file
from serve import keys
from serve.access import key_file
from serve.experiments.assignment import Experiment
from serve.history import task
from serve.releases.audit.history import HISTORY, history_table, read_history, record
from serve.releases.pointer import LivePointer, promoted, with_experiment
from serve.releases.registry import POINTER, ReleaseRegistry
from serve.releases.release import ReleaseError
from serve.rollout.denylist import deny


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReleaseRegistry:
    monkeypatch.setenv("OPERATOR", "ada")
    monkeypatch.setattr(ReleaseRegistry, "manifest", lambda *_: {})
    return ReleaseRegistry.of(Folder.of(str(tmp_path)))


def test_the_operator_is_named_by_the_environment_or_the_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPERATOR", raising=False)
    assert operator() == f"{getpass.getuser()}@{socket.gethostname()}"
    monkeypatch.setenv("OPERATOR", " ada ")
    assert operator() == "ada"


@pytest.mark.parametrize(
    ("given", "recorded"),
    [
        ("index.uri=http://user:secret@host:19530/db", "index.uri=http://***@host:19530/db"),
        ("index.uri=user:secret@host:19530", "index.uri=***@host:19530"),
        ("index.uri=http://user:sec/ret@host", "index.uri=http://***@host"),
        ("index.uri=http://user:sec@ret@host", "index.uri=http://***@host"),
        ("index.uri='http://user:sec ret=1@host'", "index.uri=***@host'"),
        ("x=[http://a:secret@b,http://c:secret@d]", "x=***@d]"),
        ("data/source@data.source.base=synthetic", "data/source@data.source.base=synthetic"),
        ("+storage.root=s3://key:secret@bucket", "+storage.root=s3://***@bucket"),
        ("reason=slow", "reason=slow"),
    ],
)
def test_a_password_in_an_address_is_not_recorded(given: str, recorded: str) -> None:
    token = _command.set("")
    begin_command("serve.promote", ["release=a", given])
    assert running_command() == f"serve.promote release=a {recorded}"
    _command.reset(token)


def test_changes_of_what_serves_say_who_made_them(registry: ReleaseRegistry) -> None:
    token = _command.set("serve.promote release=b")
    registry.promote("a")
    registry.promote("b")
    registry.promote("b")
    registry.rollback("slow")
    _command.reset(token)
    entries = read_history(registry.folder, 10)
    assert [entry["release"] for entry in entries] == ["a", "b", "a"], "newest first, and only what changed something"
    assert {(entry["by"], entry["command"]) for entry in entries} == {("ada", "serve.promote release=b")}
    assert (entries[0]["rolled_back"], entries[0]["reason"]) == ("b", "slow")
    assert len(read_history(registry.folder, 2)) == 2
    shown = [str(cell) for column in history_table(entries).columns for cell in column.cells]
    assert "live: a, rolled back: b, because: slow" in shown


def test_a_change_whose_process_was_killed_before_it_was_in_the_history_is_there_all_the_same(
    registry: ReleaseRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.promote("a")
    history = registry.folder / HISTORY
    token = _command.set("serve.promote release=b")
    registry.promote("b")
    _command.reset(token)
    history.delete_file(history.names()[-1])  # as a kill between the pointer and the history leaves it
    monkeypatch.setenv("OPERATOR", "grace")
    record(registry.folder, action="publish", release="c")
    shown = task(load([f"storage.root={tmp_path}"]))["history"]
    assert [(entry["release"], entry["by"], entry["command"]) for entry in shown] == [
        ("c", "grace", ""),
        ("b", "ada", "serve.promote release=b"),
        ("a", "ada", ""),
    ]
    registry.promote("c")
    changes = [(entry["release"], entry["by"]) for entry in read_history(registry.folder, 9) if "action" not in entry]
    assert changes == [("c", "grace"), ("b", "ada"), ("a", "ada")]
    registry.promote("c")
    assert len(read_history(registry.folder, 9)) == 4, "each once"


def test_a_history_that_cannot_be_written_keeps_no_rollback_back(registry: ReleaseRegistry) -> None:
    registry.promote("a")
    Path(registry.folder.path, HISTORY).rename(Path(registry.folder.path, "moved"))
    registry.folder.write_bytes(HISTORY, b"a file where the folder should be")
    for change in (lambda: registry.promote("b"), registry.rollback):
        with pytest.raises(OSError, match="history"):
            change()
    live = registry.live()
    assert live is not None
    assert (live.release, live.rolled_back) == ("a", "b")


def test_the_history_is_shown_where_the_pointer_is_damaged(registry: ReleaseRegistry, tmp_path: Path) -> None:
    registry.promote("a")
    registry.folder.write_bytes(POINTER, b"{")
    assert [entry["release"] for entry in task(load([f"storage.root={tmp_path}"]))["history"]] == ["a"]


def test_entries_of_earlier_versions_are_shown(registry: ReleaseRegistry) -> None:
    old = LivePointer("a", None, "2026-01-01T00:00:00.000+00:00")
    (registry.folder / HISTORY).write_json("2026-01-01T00:00:00.000+00:00.json", promoted(old, "b").as_json())
    record(registry.folder, action="prune", releases=["x", "y"])
    new, before = read_history(registry.folder, 10)
    assert (before["at"], before["by"], before["release"]) == ("2026-01-01T00:00:00.000+00:00", "", "b")
    cells = [str(cell) for column in history_table([new, before]).columns for cell in column.cells]
    assert {"2026-01-01 00:00:00", "action: prune, releases: x y", "live: b"} <= set(cells)


def test_keys_are_made_and_revoked_under_the_operators_name(
    registry: ReleaseRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = f"storage.root={tmp_path}"
    keys.task(load([root, "mint=shop", "key.scopes=[recommend,events]"]))
    (key,) = [line.strip() for line in capsys.readouterr().out.splitlines() if line.strip().startswith("ttr_")]
    summary = keys.task(load([root]))
    assert [entry["name"] for entry in summary["keys"]] == ["shop"]
    keys.task(load([root, "revoke=shop"]))
    entries = read_history(registry.folder, 10)
    assert [(entry["action"], entry["key"], entry["by"]) for entry in entries] == [
        ("revoke", "shop", "ada"),
        ("mint", "shop", "ada"),
    ]
    written = [path.read_text() for path in tmp_path.rglob("*.json")]
    assert not [text for text in written if key.split("_", 2)[2] in text]


def test_a_pointer_of_a_later_version_is_read(registry: ReleaseRegistry) -> None:
    experiment = Experiment("home", {"second": 0.1}, "2026-01-31T09:00:00+00:00")
    registry.promote("first")
    live = registry.update_pointer(lambda before: with_experiment(promoted(before, "first"), experiment))
    value = registry.folder.read_json(POINTER)
    later = {**value, "region": "eu", "experiment": {**value["experiment"], "salt": "x"}}
    registry.folder.write_json(POINTER, later)
    assert registry.live() == live


def test_the_cure_of_a_damaged_pointer_keeps_recalled_items_out(registry: ReleaseRegistry) -> None:
    registry.promote("first")
    deny(registry, ["i1"], "recalled", 1)
    live = registry.live()
    registry.folder.write_bytes(POINTER, b"{")
    with pytest.raises(ReleaseError, match=r"put the newest file of \.history/ that has `promoted_at` in its place"):
        registry.promote("second")
    history = registry.folder / HISTORY
    newest = [name for name in history.names() if "promoted_at" in history.read_json(name)][-1]
    registry.folder.write_bytes(POINTER, history.read_bytes(newest))
    assert registry.live() == live
    assert registry.read_denylist(live.denylist) == {"i1"}


def test_a_key_whose_process_is_killed_once_it_is_made_is_in_the_history(
    registry: ReleaseRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: Any) -> None:
        update_file(*arguments)
        raise KeyboardInterrupt

    root = f"storage.root={tmp_path}"
    keys.task(load([root, "mint=old"]))
    monkeypatch.setattr(key_file, "update_file", killed)
    for change in ("mint=shop", "revoke=old"):
        with pytest.raises(KeyboardInterrupt):
            keys.task(load([root, change]))
    with pytest.raises(ConfigError, match="is the name of a key already"):
        keys.task(load([root, "mint=shop"]))
    entries = [(entry["action"], entry["key"]) for entry in read_history(registry.folder, 10)]
    assert entries == [("revoke", "old"), ("mint", "shop"), ("mint", "old")], "what is refused is not"

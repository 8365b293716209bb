"""Whoever publishes a release, by whichever command, is in the history, also where the process is killed right then."""

from dataclasses import replace
from pathlib import Path

import pytest

from conf.schema import Config, load
from data.artifacts.folders import Folder
from serve.history import task
from serve.releases.audit.history import HISTORY, read_history
from serve.releases.publish import publish
from serve.releases.registry import ReleaseRegistry
from towers.checkpoint.checkpoint import Checkpoint


def test_a_publication_is_in_the_history_once(
    tiny: Config, checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, index = Folder.of(str(tmp_path)), replace(tiny.index, uri=f"{tmp_path}/milvus.db")
    releases, said = ReleaseRegistry.of(storage).folder, list[str]()
    monkeypatch.setenv("OPERATOR", "ada")
    release_id = publish(index, checkpoint, storage, said.append, reason="nightly")
    (entry,) = read_history(releases, 9)
    shown = {name: entry[name] for name in ("action", "release", "reason", "by")}
    assert shown == {"action": "publish", "release": release_id, "reason": "nightly", "by": "ada"}

    for name in (releases / HISTORY).names():  # as a kill between the seal and the history leaves it
        (releases / HISTORY).delete_file(name)
    monkeypatch.setenv("OPERATOR", "grace")
    assert task(load([f"storage.root={tmp_path}"]))["history"] == [entry]
    for _ in range(2):
        assert publish(index, checkpoint, storage, said.append) == release_id, "it is published already"
        assert read_history(releases, 9) == [entry]

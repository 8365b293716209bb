"""A store that takes the place of another one knows who was forgotten there."""

from pathlib import Path

from data.artifacts.folders import Folder
from serve.events.compaction import LogCompactor, compact
from serve.events.sqlite_store import SqliteStore
from tests.conformance.events import config, event, now_us


def test_users_who_were_forgotten_at_the_former_store_stay_forgotten(tmp_path: Path) -> None:
    """They were back, with the history that the release has of them."""
    storage, values = Folder.of(str(tmp_path)), config(path=str(tmp_path / "after.sqlite"))
    former, store = SqliteStore(config(path=str(tmp_path / "before.sqlite"))), SqliteStore(values)
    former.append([event("1"), event("2", user_id="v")])
    forgotten_us = [former.forget("u", now_us())]
    compact(values, former, storage)
    found: list[list[int | None]] = []

    def stopped(seconds: float) -> bool:
        if seconds:
            found.append([state.forgotten_us for state in store.read(["u", "v"])])
            if len(found) == 1:  # at a replica of before, while it is replaced
                forgotten_us.append(former.forget("v", now_us()))
                compact(values, former, storage)
        return len(found) == 3

    LogCompactor(values, storage, lambda _: None).watch(stopped)
    assert found == [[forgotten_us[0], None], forgotten_us, forgotten_us]

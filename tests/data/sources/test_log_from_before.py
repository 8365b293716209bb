"""Users who were forgotten at an endpoint do not come back with the log from before it; all others stay."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conf.schema import load
from data.artifacts.folders import Folder
from data.artifacts.json_text import DamagedFile
from data.dataset.preparation import prepare
from data.dataset.prepared import PreparedDataset
from data.sources.event_log.files import EventLog
from data.sources.event_log.forgetting import FORGOTTEN
from data.sources.event_log.log_from_before import OF_FORGOTTEN, forgotten_of_base, marked, note_of_base
from data.sources.event_log.users import user_key
from data.sources.source import raw_block
from data.sources.values.kept import with_ids
from serve.events.compaction import compact
from serve.events.sqlite_store import SqliteStore
from tests.conformance.events import config as events_config
from tests.conformance.events import event, now_us

AT_S = 1_700_000_000
USERS, EACH = [f"u{number}" for number in range(10)], 8


def block(*rows: tuple[str | None, int | None]) -> pa.Table:
    users, times = (pa.array(column, kind) for column, kind in zip(zip(*rows, strict=True), TYPES, strict=True))
    return raw_block(user_id=users, item_id=pa.array(["i"] * len(rows)), time=times, first_position=0)


TYPES = (pa.string(), pa.int64())


def test_what_a_user_did_before_is_no_interaction_and_what_came_after_is_one() -> None:
    rows = block(("u", AT_S - 5), ("v", AT_S - 5), ("u", AT_S), ("u", AT_S + 1), ("u", None), (None, AT_S), ("v", -7))
    found = marked(rows, {user_key("u"): AT_S * 1_000_000 + 250_000})
    assert found["missing"].to_pylist() == [OF_FORGOTTEN, None, OF_FORGOTTEN, None, None, None, None]
    assert found.schema == rows.schema
    assert with_ids(found)["user_id"].to_pylist() == ["v", "u", "u", None, "v"]
    assert marked(rows, {}) is rows


def test_a_row_that_lacks_an_id_goes_on_saying_so() -> None:
    rows = block(("v", AT_S))
    rows = rows.set_column(9, rows.schema.field("missing"), pa.array(["events.item_id"]))
    assert marked(rows, {user_key("u"): 1})["missing"].to_pylist() == ["events.item_id"]


def test_a_damaged_note_is_named_with_its_cure(tmp_path: Path) -> None:
    log = EventLog.of(Folder.of(str(tmp_path)))
    note_of_base(log, {user_key("u"): 7})
    note_of_base(log, {user_key("v"): 8})
    assert forgotten_of_base(log) == {user_key("u"): 7, user_key("v"): 8}
    log.folder.write_bytes(FORGOTTEN, b"{")
    for reads in (lambda: forgotten_of_base(log), lambda: note_of_base(log, {user_key("w"): 9})):
        with pytest.raises(DamagedFile, match=r"events/_forgotten\.json: .* forget again all users who were forgotten"):
            reads()


def compacted(store: SqliteStore, storage: Folder) -> None:
    compact(events_config(), store, storage)


def prepared(tmp_path: Path, said: list[str]) -> PreparedDataset:
    """The dataset of the log below `tmp_path` and the events of the endpoint there."""
    base = {
        "format": "parquet", "interactions": f"{tmp_path}/log.parquet", "users": f"{tmp_path}/users.parquet",
        "user_features": "[{name: country, kind: categorical}]",
    }  # fmt: skip
    config = load(
        [
            "data=events",
            "data/source@data.source.base=table",
            "data.source.base_type=like",
            *(f"data.source.base.{name}={value}" for name, value in base.items()),
            f"storage.root={tmp_path}/endpoint",
        ]
    )
    return prepare(config.data, Folder.of(str(tmp_path / "var")), said.append)


@pytest.mark.slow
def test_a_forgotten_user_does_not_come_back_with_the_next_dataset(ray_session: None, tmp_path: Path) -> None:
    """The log from before still had the user, and the dataset was taken for one without."""
    log = [(user, f"i{(n + at) % 9}", AT_S + 60 * at) for n, user in enumerate(USERS) for at in range(EACH)]
    pq.write_table(pa.table(dict(zip(("user_id", "item_id", "time"), zip(*log, strict=True), strict=True))),
                   tmp_path / "log.parquet")  # fmt: skip
    pq.write_table(pa.table({"user_id": [*USERS, "silent"], "country": ["x"] * 11}), tmp_path / "users.parquet")
    storage, store = Folder.of(str(tmp_path / "endpoint")), SqliteStore(events_config(path=str(tmp_path / "state")))
    store.append([event("1", user_id="u3", item_id="i1"), event("2", user_id="u1", item_id="i1")])
    compacted(store, storage)
    first = prepared(tmp_path, [])
    assert first.users.ids.values.to_pylist() == sorted([*USERS, "silent"])

    gone = [store.forget(user, now_us()) for user in ("u1", "u2", "silent")]
    store.append([event("3", user_id="u2", item_id="i2")])
    compacted(store, storage)
    said: list[str] = []
    second = prepared(tmp_path, said)
    assert second.fingerprint != first.fingerprint and second.manifest["log_read_us"] >= max(gone)
    assert second.users.ids.values.to_pylist() == sorted({*USERS} - {"u1"}), "u2 has come back"
    assert second.manifest["counts"]["raw_interactions"] == 8 * EACH + 2
    rows = f"{2 * EACH} interactions of the log from before are left out: their users were forgotten at the endpoint"
    table = "2 rows of the table of users are left out, whose users were forgotten at the endpoint"
    assert {f"{rows} since", table} <= {*second.notes} and second.manifest["missing"] == {}
    assert all(any(note in line for line in said) for note in (rows, table))
    again: list[str] = []
    assert prepared(tmp_path, again).fingerprint == second.fingerprint
    assert "already prepared" in again[0]

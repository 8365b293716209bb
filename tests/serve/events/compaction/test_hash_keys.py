"""Forgotten users are found in the logs of answers whatever key named them there, or it is said that they are not."""

from pathlib import Path

import pytest

from data.artifacts.folders import Folder
from data.sources.event_log.decisions import DecisionLog
from data.sources.event_log.exposures import exposures_folder
from data.sources.event_log.hash_keys import FORMER, NAME, HashKeyMissing, fingerprint
from data.sources.event_log.users import HASH_KEY
from serve.events.compaction import LogCompactor, compact
from serve.events.config import EventsConfig
from serve.events.decisions.config import DecisionsConfig
from serve.events.decisions.recorder import DecisionRecorder
from serve.events.sqlite_store import SqliteStore
from serve.experiments.assignment import Assignment, Experiment
from serve.experiments.exposure_files import ExposureRun
from serve.experiments.exposures import ExposureLog
from tests.conformance.events import config, event, now_us
from tests.serve.events.test_decisions import answer, ids

EXPERIMENT = Experiment("canary", {"b": 0.5}, "2026-01-31T09:05:00.250+00:00")
FIRST, SECOND = "the first key of the tests", "the second key of the tests"


@pytest.fixture
def values(tmp_path: Path) -> EventsConfig:
    return config(path=str(tmp_path / "state" / "events.sqlite"))


@pytest.fixture
def storage(tmp_path: Path) -> Folder:
    return Folder.of(str(tmp_path))


def use(monkeypatch: pytest.MonkeyPatch, key: str, former: str = "") -> None:
    monkeypatch.setenv(HASH_KEY, key)
    monkeypatch.setenv(FORMER, former)


async def answered(storage: Folder, replica: str) -> None:
    """A replica answers u and v by the key that it has."""
    decisions, exposures = DecisionRecorder(DecisionsConfig(), storage, replica), ExposureLog(storage, replica)
    for user_id in ("u", "v"):
        decisions.add(answer([1], [1]), ids, f"{user_id} of {replica}", 1.0, user_id=user_id)
        exposures.add_failure(Assignment(EXPERIMENT, "b"), "b", user_id, f"{user_id} of {replica}", 1.0)
    await decisions.flush(at_once=True)
    await exposures.flush(at_once=True)


def recorded(storage: Folder) -> list[list[str]]:
    """The ids of the requests in both logs."""
    log = DecisionLog.of(storage)
    tables = [log.read_hour(log.hours()[0]).table, ExposureRun.of(storage, EXPERIMENT).read().table]
    return [sorted(table["request_id"].to_pylist()) for table in tables]


async def test_rows_by_a_former_key_go_too(
    values: EventsConfig, storage: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a key that was exchanged nothing was found, and nobody noticed."""
    store = SqliteStore(values)
    use(monkeypatch, FIRST)
    await answered(storage, "before")
    use(monkeypatch, SECOND, f"an earlier one, {FIRST}")
    await answered(storage, "after")
    store.forget("u", now_us())
    compact(values, store, storage)
    assert recorded(storage) == [["v of after", "v of before"]] * 2


async def test_rows_from_before_there_was_a_key_go_too(
    values: EventsConfig, storage: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on loopback, where none is asked for."""
    store = SqliteStore(values)
    use(monkeypatch, "")
    await answered(storage, "before")
    use(monkeypatch, FIRST)
    store.forget("u", now_us())
    compact(values, store, storage)
    assert recorded(storage) == [["v of before"]] * 2


@pytest.mark.parametrize("key", ["", SECOND])
async def test_without_the_key_nobody_counts_as_forgotten(
    values: EventsConfig, storage: Folder, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    store = SqliteStore(values)
    use(monkeypatch, FIRST)
    await answered(storage, "endpoint")
    use(monkeypatch, key)
    store.append([event("1")])
    assert compact(values, store, storage) == 1, "events do not wait for it"
    store.forget("u", now_us())
    said = rf"USER_HASH_KEY: rows of .*decisions name users by a key .* {fingerprint(FIRST)}, .*{FORMER}"
    for _ in range(2):
        with pytest.raises(HashKeyMissing, match=said):
            compact(values, store, storage)
    use(monkeypatch, SECOND, FIRST)
    compact(values, store, storage)
    assert recorded(storage) == [["v of endpoint"]] * 2


async def test_it_is_said_before_somebody_is_forgotten(
    values: EventsConfig, storage: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, FIRST)
    await answered(storage, "endpoint")
    use(monkeypatch, SECOND)
    said: list[str] = []
    LogCompactor(values, storage, said.append).watch(lambda _: True)
    (line,) = said
    assert line.startswith("compaction: USER_HASH_KEY: rows of ") and fingerprint(FIRST) in line


async def test_the_fingerprint_tells_nothing_of_the_key(storage: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, FIRST)
    await answered(storage, "endpoint")
    for log in (DecisionLog.of(storage).folder, exposures_folder(storage)):
        (name,) = (name for name in log.names() if name.startswith(NAME))
        assert name == f"{NAME}{fingerprint(FIRST)}.json"
        assert FIRST not in log.read_bytes(name).decode()
    assert len({fingerprint(key) for key in ("", FIRST, SECOND)}) == 3

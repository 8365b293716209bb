"""The state store in one SQLite file in WAL mode, which the replicas of a machine share.

A transaction with `synchronous=FULL` writes a group of events: their ids, the log and the states of their users. So a
crash leaves all of it or nothing, and one fsync serves the whole group. Statements take and give whole groups as JSON:
Python's sqlite3 module releases the interpreter lock for each row, and a replica that is computing takes it every time.

https://sqlite.org/wal.html and https://sqlite.org/pragma.html#pragma_synchronous say what is durable when.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import orjson

from data.sources.event_log.users import user_key
from serve.events import sqlite_statements as sql
from serve.events.config import EventsConfig
from serve.events.event import Event
from serve.events.group import Group
from serve.events.protocol import LogEnd, LoggedEvents, Outcome, StoreUnavailable
from serve.events.state import EMPTY, UserState

BUSY_S = 1.0
"""Seconds that a writer waits for the other writers of the machine."""

PRAGMAS = {
    "read": [f"PRAGMA mmap_size = {256 * 2**20}"],  # bytes that are read without a system call for each page
    "write": ["PRAGMA busy_timeout = 0"],  # `_transaction` waits by itself
}

RETRY_S = 0.0005
"""Seconds between two attempts to begin a transaction. SQLite's own waits grow to 100 ms, and let others overtake."""


class SqliteStore:
    """See serve/events/protocol.py. Reads and writes have a connection each: readers do not wait for writers."""

    def __init__(self, config: EventsConfig) -> None:
        self._config = config
        self._path = Path(config.path)
        self._locks = {"read": threading.Lock(), "write": threading.Lock()}
        self._connections: dict[str, sqlite3.Connection] = {}

    def append(self, events: Sequence[Event]) -> list[Outcome]:
        """See StateStore."""
        with self._transaction() as connection:
            asked = {
                "ids": orjson.dumps([event.event_id for event in events]).decode(),
                "users": orjson.dumps(list({user_key(event.user_id) for event in events})).decode(),
            }
            received, digests, states = connection.execute(sql.READ_BEFORE, asked).fetchone()
            decoded = {key: UserState.of_json(state) for key, state in orjson.loads(states).items()}
            group = Group.of(events, orjson.loads(digests), decoded, int(received), self._config)
            if ids := group.ids + group.kept_out:
                connection.execute(sql.WRITE_IDS, (orjson.dumps(ids).decode(),))
            if group.logged:
                logged = [[key, event.as_json(at)] for key, event, at in group.logged]
                connection.execute(sql.WRITE_LOG, (orjson.dumps(logged).decode(),))
                states = {key: orjson.Fragment(state) for key, state in group.states.items()}
                connection.execute(sql.WRITE_STATES, (orjson.dumps(states).decode(),))
                connection.execute(sql.WRITE_FACT, ("received", str(group.received_us)))
        return group.outcomes

    def read(self, user_ids: Sequence[str]) -> list[UserState]:
        """See StateStore."""
        keys = [user_key(user_id) for user_id in user_ids]
        with self._connected("read") as connection:
            if len(keys) == 1:
                found = connection.execute("SELECT state FROM users WHERE user = ?", keys).fetchone()
                return [UserState.decode(found and found[0])]
            (states,) = connection.execute(sql.STATES, {"users": orjson.dumps(keys).decode()}).fetchone()
        found = orjson.loads(states)
        return [UserState.of_json(found[key]) if key in found else EMPTY for key in keys]

    def forget(self, user_id: str, now_us: int) -> int:
        """See StateStore. An event that is being compacted at this moment is removed by the compaction after it."""
        key = user_key(user_id)
        with self._transaction() as connection:
            forgotten_us = max(now_us, int(_fact(connection, "received") or 0) + 1)
            state = UserState(forgotten_us=forgotten_us)
            connection.execute("INSERT OR REPLACE INTO users VALUES (?, ?)", (key, state.encode().decode()))
            begun = int(_fact(connection, "begun") or 0)
            connection.execute("DELETE FROM log WHERE user = ? AND seq > ?", (key, begun))
            connection.execute("INSERT OR REPLACE INTO forgotten VALUES (?, ?, NULL)", (key, forgotten_us))
            connection.execute(sql.WRITE_FACT, ("received", str(forgotten_us)))
        return forgotten_us

    def keep_out(self, forgotten: Mapping[str, int]) -> None:
        """See StateStore. The next compaction removes what users whose states are replaced did before."""
        states = {key: orjson.Fragment(UserState(forgotten_us=at).encode()) for key, at in forgotten.items()}
        with self._transaction() as connection:
            for statement in sql.KEEP_OUT:
                connection.execute(statement, (orjson.dumps(states).decode(),))

    def end(self) -> LogEnd:
        """See StateStore. The number of the last event, and a time: from now on, events and users have later ones."""
        with self._transaction() as connection:
            closed_us = max(time.time_ns() // 1000, int(_fact(connection, "received") or 0))
            connection.execute(sql.WRITE_FACT, ("received", str(closed_us)))
            return int(connection.execute(sql.LAST).fetchone()[0]), closed_us

    def part(self, max_events: int, end: LogEnd | None = None) -> LoggedEvents | None:
        """See StateStore. The last number of a part is noted before it is given out, so that it stays the same."""
        last, closed_us = end or self.end()
        with self._transaction() as connection:
            begun, name = int(_fact(connection, "begun") or 0), _fact(connection, "part")
            if name is None:
                first, until = connection.execute(sql.NEXT_PART, (last, max_events)).fetchone()
                if first is None and connection.execute(sql.FORGOTTEN_UNTIL, (closed_us,)).fetchone() is None:
                    return None
                begun = until or begun
                name = f"{_fact(connection, 'log')}-{first or begun:012}-{begun:012}-{time.time_ns() // 1000}"
                connection.execute(sql.WRITE_FACT, ("begun", str(begun)))
                connection.execute(sql.WRITE_FACT, ("part", name))
                connection.execute(sql.WRITE_FACT, ("until", str(closed_us if begun >= last else 0)))
                connection.execute("UPDATE forgotten SET part = ? WHERE part IS NULL AND at <= ?", (name, closed_us))
            found = connection.execute("SELECT event FROM log WHERE seq <= ? ORDER BY seq", (begun,)).fetchall()
            forgotten = connection.execute("SELECT user, at FROM forgotten WHERE part = ?", (name,)).fetchall()
            complete_us = int(_fact(connection, "until") or 0)
        events = [orjson.loads(event) for (event,) in found]
        until_us = max([complete_us, *(event["received"] for event in events)])
        return LoggedEvents(name, events, until_us, dict(forgotten))

    def done(self, part: LoggedEvents) -> None:
        """See StateStore."""
        with self._transaction() as connection:
            if _fact(connection, "part") == part.name:
                connection.execute("DELETE FROM log WHERE seq <= ?", (int(_fact(connection, "begun") or 0),))
                connection.execute("DELETE FROM forgotten WHERE part = ?", (part.name,))
                connection.execute("DELETE FROM facts WHERE name IN ('part', 'until')")

    def prune(self, before_us: int) -> None:
        """See StateStore."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM ids WHERE received < ?", (before_us,))

    def noted(self, name: str) -> str | None:
        """See StateStore."""
        with self._connected("read") as connection:
            return _fact(connection, sql.NOTE + name)

    def note(self, name: str, value: str, *, replaces: bool = True) -> str:
        """See StateStore."""
        with self._transaction() as connection:
            connection.execute(sql.WRITE_FACT if replaces else sql.ADD_FACT, (sql.NOTE + name, value))
            return str(_fact(connection, sql.NOTE + name))

    def num_waiting(self) -> int:
        """See StateStore."""
        with self._connected("read") as connection:
            return int(connection.execute("SELECT count(*) FROM log").fetchone()[0])

    def close(self) -> None:
        """See StateStore."""
        for name, lock in self._locks.items():
            with lock:
                if (connection := self._connections.pop(name, None)) is not None:
                    connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Writes all that the block does, or nothing."""
        with self._connected("write") as connection:
            ends = time.monotonic() + BUSY_S
            while True:
                try:
                    connection.execute("BEGIN IMMEDIATE")
                    break
                except sqlite3.OperationalError as e:
                    if e.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > ends:
                        raise
                    time.sleep(RETRY_S)
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _connected(self, use: str) -> Iterator[sqlite3.Connection]:
        with self._locks[use]:
            try:
                if use not in self._connections:
                    self._connections[use] = _connect(self._path)
                    for pragma in PRAGMAS[use]:
                        self._connections[use].execute(pragma)
                yield self._connections[use]
            except StoreUnavailable:
                raise
            except (sqlite3.Error, OSError) as e:
                raise StoreUnavailable(f"events.path: {self._path}: {e}") from e


def _fact(connection: sqlite3.Connection, name: str) -> str | None:
    found = connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return None if found is None else str(found[0])


def _connect(path: Path) -> sqlite3.Connection:
    """A connection to the file, which is created with its tables if it is not there.

    Raises:
        StoreUnavailable: It is of another version.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_S)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")  # what is forgotten does not stay in free pages
    connection.executescript(f"BEGIN IMMEDIATE; {sql.SCHEMA} COMMIT;")
    if (version := _fact(connection, "version")) != sql.VERSION:
        connection.close()
        raise StoreUnavailable(f"events.path: {path} is of version {version}, and {sql.VERSION} is known: move it away")
    return connection

"""Compaction: moves accepted events from the state store into the event log, each once, and removes forgotten users.

The decision log and exposures are compacted beside it, by the hour.

A part of the log is written under a name that the store has noted before. After a crash the same part comes again, and
its files replace those that were written. Only when they are all in place does the store drop the part. Who was
forgotten is noted in the log too before it does (`_removing.json`).
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial

from data.artifacts.errors import one_line
from data.artifacts.folders import Folder
from data.artifacts.leases import LeaseLost, Lock, Step, WatchedLock, unwatched
from data.cluster.console import ProgressReporter
from data.sources.event_log.decisions import DecisionLog
from data.sources.event_log.exposures import exposures_folder
from data.sources.event_log.files import MICROS, EventLog
from data.sources.event_log.hash_keys import require_hash_keys
from data.sources.event_log.known import not_logged
from data.sources.event_log.log_from_before import forgotten_of_base, note_of_base
from data.sources.event_log.removal import remove_events
from data.sources.event_log.removing import Removing, end_removing, note_complete
from data.sources.event_log.stores import note_store
from serve.events.config import EventsConfig
from serve.events.decisions.upkeep import forget_decisions, keep_decisions
from serve.events.exposures import ExposureCompaction, drop_exposures, forget_exposures, hour_to_compact
from serve.events.notes.event_log import is_log_of, require_log
from serve.events.notes.store_id import store_id
from serve.events.notes.values import note_values
from serve.events.popular.now import add_popular
from serve.events.protocol import StateStore, StoreUnavailable
from serve.events.state import DAY_US
from serve.events.stores import STATE_STORES

MAX_PART = 100_000
"""Most events in one part, which is in memory while it is written."""

LOCK = ".compaction"


def compact(
    config: EventsConfig,
    store: StateStore,
    storage: Folder,
    stopped: Callable[[], bool] = lambda: False,
    step: Step = unwatched,
) -> int:
    """Moves the events that are accepted by now into the event log; returns how many.

    Events that are accepted meanwhile are left for the next compaction. Another one at the same time waits. Users who
    were forgotten are removed last, in one pass over the log; if that is interrupted, the next compaction continues it.

    Args:
        stopped: Asked before each part but the first one; where it returns True, the remaining parts stay in the store.
        step: Called for each file.

    Raises:
        ConfigError: The store is that of another event log.
        StoreUnavailable: The store does not answer.
        OSError: The storage does not take the files.
        HashKeyMissing: A user was forgotten, and rows of the logs of answers name users by a key that is not known.
        LeaseLost: On an object store, this process was stopped in the middle, and another one went on.
    """
    log, num_events, num_parts = EventLog.of(storage), 0, 0
    with log.folder.locked(LOCK) as held:
        lock = WatchedLock(held, step)
        require_log(config, store, log, lock)
        _remove_forgotten(log, storage, lock, step)  # whom an interrupted compaction has left
        remove_events(log, Removing(), lock)  # from files that were damaged and have been restored
        began_us, end = time.time_ns() // 1000, store.end()
        note_store(log, store_id(store), config.place, began_us, lock)
        while (part := store.part(MAX_PART, end)) is not None:
            if num_parts and stopped():
                break
            if events := not_logged(log, part.name, part.events):
                log.write(part.name, events, lock)
                if config.popular_half_life_h:
                    add_popular(config, storage, part.name, events, lock)
            if part.forgotten:
                require_hash_keys(*_logs_of_answers(storage))
                note_of_base(log, part.forgotten, lock)
            note_complete(log, part.until_us, part.forgotten, lock)
            lock.require()
            store.done(part)
            num_events, num_parts = num_events + len(events), num_parts + 1
        else:
            _remove_forgotten(log, storage, lock, step)
            log.set_compacted(began_us, lock)  # also where there was nothing: others learn that there is an endpoint
        store.prune(time.time_ns() // 1000 - int((config.max_age_days + 1) * DAY_US))
    return num_events


def _remove_forgotten(log: EventLog, storage: Folder, lock: Lock, step: Step) -> None:
    """Removes those who are noted in the event log, from it and from the logs of answers."""
    removing = Removing.of(log)
    if not removing.users:
        return
    require_hash_keys(*_logs_of_answers(storage))
    remove_events(log, removing, lock)
    forget_decisions(storage, removing.users, step)
    forget_exposures(storage, removing.users, step)
    end_removing(log, lock)


def _logs_of_answers(storage: Folder) -> tuple[Folder, Folder]:
    return DecisionLog.of(storage).folder, exposures_folder(storage)


CompactionReport = Callable[[Mapping[str, float], int | None], None]
"""Takes by log (`events`, `exposures`, `decisions`) the Unix time of its last compaction that succeeded, and how many
events wait in the store; None where it does not say."""


class LogCompactor:
    """Compacts the event log, the decision log and exposures again and again, in a thread of its own.

    Args:
        config: The store, what is kept, and the time between two compactions.
        storage: The storage root.
        progress: Where messages go.
        report: Called before the first compaction and after each.
    """

    def __init__(
        self,
        config: EventsConfig,
        storage: Folder,
        progress: ProgressReporter = print,
        report: CompactionReport = lambda *_: None,
    ) -> None:
        self._config, self._storage, self._progress, self._report = config, storage, progress, report
        self._exposures, self._dropped_in = ExposureCompaction(storage), ""
        self._told: Mapping[str, int] = {}  # who was forgotten
        self._has_noted = False
        self._compacted_s: dict[str, float] = {}

    def watch(self, stopped: Callable[[float], bool]) -> None:
        """Compacts until stopped, and once more then, unless that has ended a compaction between two parts.

        Args:
            stopped: Waits for the given number of seconds and returns whether to stop (as `threading.Event.wait` does).
        """
        store: StateStore | None = STATE_STORES[self._config.store](self._config) if self._config.is_on else None
        is_last, step = False, partial(stopped, 0)

        def cut() -> bool:
            nonlocal is_last
            if is_last:  # the last compaction ends by itself
                return False
            is_last = stopped(0)
            return is_last

        self._begin(store)
        while not is_last:
            is_last = stopped(self._config.compact_s)
            if store is not None:
                self._note_values(store)
                self._tell_forgotten(store)
                self._check_hash_keys()
                self._try("events", partial(compact, self._config, store, self._storage, cut, step), is_last)
            self._try("exposures", partial(self._keep_exposures, step), is_last)
            keep = partial(keep_decisions, self._config.decisions, self._storage, step)
            self._try("decisions", keep, is_last)
            self._report(dict(self._compacted_s), _num_waiting(store))
        if store is not None:
            store.close()

    def _begin(self, store: StateStore | None) -> None:
        """Reports what is known before the first compaction: that of events says itself when it last succeeded, so that
        a process that is started again and again does not seem to compact.
        """
        now_s = time.time()
        self._compacted_s = {"exposures": now_s, "decisions": now_s}
        if store is not None:
            self._compacted_s["events"] = now_s
            with suppress(OSError, ValueError):  # the compaction will say it
                self._compacted_s["events"] = EventLog.of(self._storage).compacted_us / MICROS or now_s
            self._note_values(store)
            self._tell_forgotten(store)
        self._report(dict(self._compacted_s), _num_waiting(store))

    def _note_values(self, store: StateStore) -> None:
        """Notes once by which values states are computed, for processes that take events from elsewhere."""
        if not self._has_noted:
            with suppress(OSError, ValueError):  # the compaction will say it
                if is_log_of(store, EventLog.of(self._storage)):
                    note_values(self._config, store, self._progress)
                    self._has_noted = True

    def _tell_forgotten(self, store: StateStore) -> None:
        """Tells a store who was forgotten at another one, as where `events.store` was changed."""
        try:
            log = EventLog.of(self._storage)
            forgotten = forgotten_of_base(log)
            if (news := dict(forgotten.items() - self._told.items())) and is_log_of(store, log):
                store.keep_out(news)
                self._told = forgotten
        except (OSError, ValueError) as e:
            self._progress(f"events: the store does not know yet who was forgotten at another one: {one_line(e)}")

    def _check_hash_keys(self) -> None:
        """Says before somebody is forgotten that this process would not find them in the logs of answers."""
        try:
            require_hash_keys(*_logs_of_answers(self._storage))
        except (OSError, ValueError) as e:
            self._progress(f"compaction: {one_line(e)}")

    def _keep_exposures(self, step: Step) -> None:
        """Removes forgotten users each time; once an hour, deletes what is too old and compacts."""
        forget_exposures(self._storage, {}, step)
        hour, days = hour_to_compact(), self._config.exposure_days
        if days is not None and self._dropped_in != hour:
            if dropped := drop_exposures(self._storage, days, step):
                self._progress(f"exposures: deleted those of {dropped} runs without any for {days:g} days")
            self._dropped_in = hour
        self._exposures.go_on(step)

    def _try(self, kind: str, call: Callable[[], object], is_last: bool) -> None:
        try:
            call()
            self._compacted_s[kind] = time.time()
        except (OSError, ValueError, LeaseLost) as e:  # what is not compacted stays where it is
            again = "" if is_last else f"; trying again in {self._config.compact_s:g} s"
            self._progress(f"{kind}: not compacted: {one_line(e)}{again}")


def _num_waiting(store: StateStore | None) -> int | None:
    """How many events wait in a store; None without a store, and where it does not answer."""
    if store is None:
        return None
    try:
        return store.num_waiting()
    except StoreUnavailable:  # the compaction says it
        return None

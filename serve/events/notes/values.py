"""The values of `events` by which a store's states are computed: the endpoint notes its own, and others must have them.

Whoever appends an event writes the new state of its user, so `serve.ingest` with other values would bound and count the
histories of users otherwise than the endpoint does, event by event.
"""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from data.artifacts.errors import ConfigError
from data.artifacts.json_text import DamagedFile, mapping, parsed
from data.cluster.console import ProgressReporter
from serve.events.config import EventsConfig
from serve.events.protocol import StateStore, StoreUnavailable

VALUES = "values"
"""The name of the note."""

PLAIN = ("history", "max_seen", "seen_days", "max_state_bytes", "half_life_days", "max_age_days")
"""The values that are noted as they are. By the last one, ids of events are kept."""

MOST_DAYS = 365_000
"""Most days from now on that are told as a date."""

LOOK_S = 60.0
"""Seconds between two looks at the endpoint's values."""


def values_of(config: EventsConfig) -> dict[str, Any]:
    """By their keys below `events`, the values by which states are computed and ids are kept."""
    return {name: getattr(config, name) for name in PLAIN} | {
        f"types.{name}.{key}": value
        for name, type_ in config.types.items()
        for key, value in (("sign", type_.sign.value), ("seen", type_.is_seen))
    }


def note_values(config: EventsConfig, store: StateStore, progress: ProgressReporter = print) -> None:
    """Notes the values of the endpoint in its store.

    Where `events.max_age_days` is higher than before, it is said until when an event may count twice: ids were kept by
    the value of before.

    Raises:
        StoreUnavailable: The store does not answer.
    """
    try:
        before = _noted(config, store)
    except DamagedFile:  # it is written anew
        before = None
    if before != (now := values_of(config)):
        store.note(VALUES, orjson.dumps(now).decode())
    days, was = config.max_age_days, None if before is None else before.get("max_age_days")
    if was is not None and was < days:
        until = datetime.fromtimestamp(time.time() + min(days - was, MOST_DAYS) * 86_400, UTC)
        progress(
            f"events.max_age_days: it was {was:g} and is {days:g}. Ids of events were kept for {was + 1:g} days, so"
            f" until {until:%Y-%m-%d} an event that was accepted before these began, and is sent again, counts twice"
        )


def differences(config: EventsConfig, store: StateStore) -> list[str] | None:
    """How the values of a process differ from those of the endpoint, by key; None where no endpoint has noted any.

    Raises:
        StoreUnavailable: The store does not answer.
        DamagedFile: The note cannot be read.
    """
    if (theirs := _noted(config, store)) is None:
        return None
    ours = values_of(config)
    keys = [key for key in ours | dict(theirs) if ours.get(key) != theirs.get(key)]
    return [f"events.{key}: {_said(ours.get(key))} here, {_said(theirs.get(key))} at the endpoint" for key in keys]


class EndpointValues:
    """Compares the values of a process that takes events with those of the endpoint.

    Args:
        config: The process's own values.
        store: The endpoint's store.
        progress: Where messages go.
    """

    def __init__(self, config: EventsConfig, store: StateStore, progress: ProgressReporter = print) -> None:
        self._config, self._store, self._progress = config, store, progress
        self._looked_s, self._told = time.monotonic(), ""

    def require(self) -> None:
        """Refuses other values, before any event is taken. A store that does not answer now is not asked.

        Raises:
            ConfigError: Values differ.
        """
        try:
            found = differences(self._config, self._store)
        except StoreUnavailable:  # who takes events says so, and waits
            return
        if found is None:
            self._progress(
                f"ingest: no endpoint has compacted {self._config.place} yet: see that it is the endpoint's store, or"
                " nobody learns of these events"
            )
        elif found:
            raise ConfigError(self._message(found))

    def look(self) -> None:
        """Looks from time to time whether the endpoint has other values by now, and says so once."""
        if time.monotonic() - self._looked_s < LOOK_S:
            return
        self._looked_s = time.monotonic()
        try:
            found = differences(self._config, self._store)
        except StoreUnavailable:
            return
        said = self._message(found) if found else ""
        if said and said != self._told:
            self._progress(f"ingest: {said}")
        self._told = said

    @staticmethod
    def _message(found: list[str]) -> str:
        return (
            f"{'; '.join(found)}: users' states are to be computed by the same values; start serve.ingest with those of"
            " the endpoint, such as the same overrides and --config-dir"
        )


def _noted(config: EventsConfig, store: StateStore) -> Mapping[str, Any] | None:
    content = store.noted(VALUES)
    place = f"{config.place}, note {VALUES!r}"
    return None if content is None else parsed(content.encode(), place, mapping, "the values of the endpoint")


def _said(value: object) -> str:
    return "none" if value is None else orjson.dumps(value).decode().strip('"')

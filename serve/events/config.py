"""The configuration of events: their types, where the state of users is kept, and its bounds."""

import socket
from dataclasses import dataclass, field, replace
from pathlib import Path

from data.artifacts.bounds import bounded, check_bounds
from data.artifacts.errors import ConfigError
from data.artifacts.secrets import recordable
from data.cluster.addresses import check_redis_address
from data.sources.event_types import EventType, is_positive
from serve.events.decisions.config import DecisionsConfig
from serve.events.stores import STATE_STORES

OFF = "off"
"""The name of no store: events are refused, and answers come from the release's histories alone."""

ON_ONE_MACHINE = "sqlite"
"""The name of the store that is a file, which several machines cannot share."""

REDIS = "redis"
"""The name of the store that several machines share."""

EVENTS_PASSWORD = "EVENTS_REDIS_PASSWORD"
"""The secret with the password of that Redis. Where it is not set, REDIS_PASSWORD counts."""

MAX_TYPE = 64
"""Most characters in the name of a type."""


@dataclass(kw_only=True, slots=True)
class EventsConfig:
    """What events there are, and where the state of users is kept. The values are in conf/events.

    Attributes:
        store: `sqlite` (a file on this machine, shared by its replicas), `redis`, or `off`. Further stores register
            themselves, see serve/events/stores.
        path: With `sqlite`: the file. It must be on a local disk.
        uri: With `redis`: its address, such as redis://host:6379/0, or rediss:// for TLS. The password comes from
            EVENTS_REDIS_PASSWORD in the environment or, where that is not set, from REDIS_PASSWORD.
        cluster: Whether `uri` is a node of a Redis cluster.
        check_durability: Whether to refuse a Redis that answers before its disk has what it was given, or that removes
            keys when its memory is full.
        types: The types of events by name. An event of another type is refused.
        history: Most events that are kept of a user, the latest ones. Events that are not positive give way first.
        seen_days: Days for which an item counts as seen after an event that says so.
        max_seen: Most items that count as seen of one user, the latest ones.
        max_state_bytes: Largest state of one user, encoded. Events give way as with `history`, and the oldest seen
            items.
        half_life_days: Days after which a past event counts half in the user's counters.
        popular_half_life_h: Hours after which an event counts half for what is popular now, by which users of whom
            nothing is known are answered; 0 takes the popular items of the release's log.
        context_s: Seconds for which the context of a user's last event stands in for one that a request lacks.
        max_age_days: Events older than this are refused. Event ids are remembered a day longer, so that an event that
            is sent again counts once.
        max_ahead_s: Events further in the future than this are refused, since clocks differ.
        state_ms: Milliseconds of a request's deadline that reading the state may take; it takes at most half of
            what is left.
        accept_ms: Milliseconds after which events that are not durable yet are answered with 503.
        max_waiting: Most events that wait in a replica to be written. Further ones are answered with 503.
        compact_s: Seconds between two compactions of accepted events into the event log.
        exposure_days: Days after the last exposure of a run of an experiment after which all of them are deleted; null
            keeps them. An analysis of that run is not possible any more then.
        decisions: Which answers are recorded in the decision log.
    """

    store: str = ON_ONE_MACHINE
    path: str = "./var/state/events.sqlite"
    uri: str = "redis://127.0.0.1:6379/0"
    cluster: bool = False
    check_durability: bool = True
    types: dict[str, EventType] = field(default_factory=dict)
    history: int = bounded(100, at_least=1, at_most=1000)
    seen_days: float = bounded(90.0, above=0)
    max_seen: int = bounded(1000, at_least=0, at_most=10_000)
    max_state_bytes: int = bounded(65_536, at_least=4096)
    half_life_days: float = bounded(7.0, above=0)
    popular_half_life_h: float = bounded(24.0, at_least=0)
    context_s: float = bounded(1800.0, at_least=0)
    max_age_days: float = bounded(7.0, above=0)
    max_ahead_s: float = bounded(60.0, at_least=0)
    state_ms: int = bounded(50, at_least=1)
    accept_ms: int = bounded(2000, at_least=1)
    max_waiting: int = bounded(20_000, at_least=500)
    compact_s: float = bounded(300.0, above=0)
    exposure_days: float | None = bounded(None, at_least=1)
    decisions: DecisionsConfig = field(default_factory=DecisionsConfig)

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that is refused."""
        check_bounds(self, "events")
        if self.store != OFF:
            STATE_STORES.require(self.store)
        if self.store == REDIS:
            check_redis_address("events.uri", self.uri)
        if self.is_on_one_machine and "://" in self.path:
            raise ConfigError(f"events.path: {self.path} must be a file on a local disk; several machines need redis")
        for name in self.types:
            if not name or len(name) > MAX_TYPE or not name.isprintable() or name.strip() != name:
                raise ConfigError(f"events.types: {name!r} must be 1 to {MAX_TYPE} printable characters")
        if self.is_on and not any(is_positive(type_) for type_ in self.types.values()):
            raise ConfigError(f"events.types: {sorted(self.types)}: at least one must have the sign positive")

    def on_this_machine(self) -> "EventsConfig":
        """The same with a path that means the same to processes with another working folder."""
        return replace(self, path=str(Path(self.path).expanduser().absolute()))

    def for_machines(self) -> "EventsConfig":
        """The same for several machines: off, if the store is a file of one."""
        return replace(self, store=OFF) if self.is_on_one_machine else self

    @property
    def is_on_one_machine(self) -> bool:
        """Whether the store is a file, which several machines cannot share."""
        return self.store == ON_ONE_MACHINE

    @property
    def is_on(self) -> bool:
        """Whether events are accepted."""
        return self.store != OFF

    @property
    def place(self) -> str:
        """Where the store is, in words: its name with its machine and file, or with its address."""
        file = f"{socket.gethostname()}:{self.on_this_machine().path}"
        return f"{self.store} at {file if self.is_on_one_machine else recordable(self.uri)}"

    @property
    def keeps_logs(self) -> bool:
        """Whether there is an event log or a decision log to be compacted."""
        return self.is_on or self.decisions.is_on

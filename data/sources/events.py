"""The source of the event log and the decision log: what happened at the endpoint, after the log from before it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

import pyarrow as pa

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.sources.event_log.decisions import DecisionLog
from data.sources.event_log.files import MICROS, EventLog
from data.sources.event_log.forgetting import FORGOTTEN
from data.sources.event_log.log_from_before import forgotten_ids, forgotten_of_base, marked
from data.sources.event_log.raw import event_blocks, skipped_blocks
from data.sources.event_types import EventType
from data.sources.files import address
from data.sources.schema import DataError
from data.sources.source import EVENT_POSITIONS, Part, RawLog, SourceConfig, read_in_parts, source
from data.sources.values.missing import SPELLINGS

SKIPPED = "skipped"
"""The event type of items that were passed over."""


@source("events")
@dataclass(kw_only=True, slots=True)
class EventLogSource(SourceConfig):
    """The events of an endpoint, and what its answers showed and users passed over.

    Attributes:
        root: the storage root of the endpoint.
        base: the log from before the endpoint, with its tables of users and items; null if there is none. What users
            did before they were forgotten at the endpoint is left out of it, and counted.
        base_type: the event type that interactions of `base` have, unless its columns name a type.
        context: the names of the context's values to take where there is no base; otherwise they are those of the base.
        missing: text that stands for a missing id or value in events, besides what does so in the base. Events without
            a user or an item are left out and counted.
        types: what each event type means, as at the endpoint; `data.events` replaces them, where it has any.
        skipped: what items mean that were passed over: shown above one on which the user acted. Their type is called
            `skipped`. Null leaves them out.
        passive: types of events that do not count as acts.
    """

    root: str
    base: SourceConfig | None = None
    base_type: str | None = None
    context: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=lambda: [*SPELLINGS, "undefined"])
    types: dict[str, EventType] = field(default_factory=dict)
    skipped: EventType | None = None
    passive: list[str] = field(default_factory=lambda: ["impression"])

    def __post_init__(self) -> None:
        """Raises ConfigError for values that do not go together."""
        if self.base is not None and self.base_type is None and getattr(self._columns(), "type", None) is None:
            raise ConfigError("data.source.base_type: null; name the type of the interactions in data.source.base")
        if self.base is not None and self.context:
            raise ConfigError(f"data.source.context: {self.context} must be left out: data.source.base decides it")
        if SKIPPED in self.types:
            raise ConfigError(f"events.types.{SKIPPED}: is what data.source.skipped means; name the type otherwise")

    def read(self) -> RawLog:
        with _errors_of_the_base():
            base = None if self.base is None else self.base.read()
        context = tuple(self.context) if base is None else base.context
        storage, spellings = Folder.of(self.root), self.missing_spellings()
        log, root = EventLog.of(storage), address(storage)  # absolute: workers may have another working folder
        until_us, days = log.until_us, log.days()
        if base is None and not days:
            raise DataError(f"{log.folder}: no events yet; post some to /v1/events, and wait for events.compact_s")
        parts: list[Part] = [partial(event_blocks, root, day, until_us, context, spellings) for day in days]
        if self.skipped is not None:
            more = until_us, context, tuple(self.passive), SKIPPED, spellings
            answers = DecisionLog.of(storage)
            parts += [
                partial(skipped_blocks, root, day, *more, hours=tuple(answers.hours_of(day))) for day in answers.days()
            ]
        interactions = read_in_parts(parts)
        if base is None:
            return RawLog(interactions, None, None, (), (), str(log.folder), context, _moment, events_until_us=until_us)
        forgotten = forgotten_of_base(log)  # read after `until_us`, until when it names all of them
        typed = partial(_of_before, name=self.base_type, forgotten=forgotten)
        before = base.interactions.map_batches(typed, batch_format="pyarrow", batch_size=None)
        return RawLog(
            before.union(interactions),
            base.users,
            base.items,
            base.user_features,
            base.item_features,
            f"{base.place} and {log.folder}",
            context,
            locate=partial(_place, base.locate),
            missing_text=base.missing_text,
            notes=tuple(map(_of_the_base, base.notes)),
            events_until_us=until_us,
            own_split=base.own_split and base.own_split.replace("data.source.", "data.source.base.", 1),
            forgotten_ids=forgotten_ids(base.users, forgotten),
        )

    def missing_spellings(self) -> tuple[str, ...]:
        of_base = () if self.base is None else self.base.missing_spellings()
        return tuple(dict.fromkeys([*of_base, *self.missing]))

    def has_weights(self) -> bool:
        return self.base is not None and self.base.has_weights()

    def event_types(self) -> dict[str, EventType]:
        """What each event type means, by name."""
        return self.types | ({} if self.skipped is None else {SKIPPED: self.skipped})

    def files(self) -> list[str]:
        storage = Folder.of(self.root)
        events, decisions = EventLog.of(storage), DecisionLog.of(storage)
        noted = [FORGOTTEN] if self.base is not None and events.folder.exists(FORGOTTEN) else []
        of_events = [address(events.folder / file) for file in (*events.files(), *noted)]
        hours = [] if self.skipped is None else [hour for day in decisions.days() for hour in decisions.hours_of(day)]
        of_decisions = [address(decisions.folder / decisions.compacted(hour)) for hour in hours]
        with _errors_of_the_base():
            return [*([] if self.base is None else self.base.files()), *of_events, *of_decisions]

    def places(self) -> dict[str, str]:
        of_base = {} if self.base is None else self.base.places()
        return {"root": self.root} | {f"base.{name}": place for name, place in of_base.items()}

    def read_until(self) -> list[int]:
        of_base = [] if self.base is None else self.base.read_until()
        return [*of_base, EventLog.of(Folder.of(self.root)).until_us]

    def _columns(self) -> object:
        return getattr(self.base, "columns", None)


@contextmanager
def _errors_of_the_base() -> Iterator[None]:
    """Has errors of the log from before name the keys that it has here."""
    try:
        yield
    except (DataError, ConfigError) as e:
        kind = DataError if isinstance(e, DataError) else ConfigError
        raise kind(_of_the_base(str(e))) from e


def _of_the_base(message: str) -> str:
    """A message of a source that is itself a log; here its keys begin otherwise."""
    return message.replace("data.source.", "data.source.base.")


def _of_before(block: pa.Table, name: str | None, forgotten: Mapping[str, int]) -> pa.Table:
    """The interactions of the log from before as they are read here, see `_with_type` and `marked`."""
    return marked(_with_type(block, name), forgotten)


def _with_type(block: pa.Table, name: str | None) -> pa.Table:
    """The interactions of the log from before, with a type where they have none."""
    if name is None:
        return block
    column = block.column_names.index("type")
    return block.set_column(column, block.schema.field("type"), block["type"].fill_null(name))


def _place(locate: Callable[[int], str], position: int) -> str:
    return _moment(position) if position >= EVENT_POSITIONS else locate(position)


def _moment(position: int) -> str:
    """When the event at a position was accepted, or the answer given that passed an item over."""
    at = datetime.fromtimestamp((position - EVENT_POSITIONS) / MICROS, UTC)
    return f"event accepted, or answer given, at {at.isoformat()}"

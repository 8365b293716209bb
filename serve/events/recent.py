"""The latest events of a user, by column.

Every answer to a known user reads them. As a list of one list per event, a hundred events are some two hundred objects
that Python's garbage collector follows; 32 requests at a time then took four times as long for it. Columns are seven.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, overload

from serve.events.event import MICROS


class Happening(NamedTuple):
    """What a state keeps of one event. Times are int microseconds since 1970 in UTC.

    Attributes:
        received_us: When it was accepted; of two events of a store, the one accepted later has the higher number.
    """

    time_us: int
    received_us: int
    item_id: str
    type: str
    value: float | None = None
    context: Mapping[str, str] = {}

    @property
    def order(self) -> tuple[int, int]:
        """Sort key of events, as in training: seconds, and within a second the time of acceptance."""
        return self.time_us // MICROS, self.received_us


@dataclass(frozen=True, slots=True)
class RecentEvents(Sequence[Happening]):
    """Events, oldest first: a sequence of `Happening`, whose columns can be read without making any of them.

    Attributes:
        types: The event types that occur.
        type_: By event, its position in `types`.
        value: By event; None if no event has a value.
        context: By event; None if no event has a context.
    """

    time_us: Sequence[int] = ()
    received_us: Sequence[int] = ()
    item_id: Sequence[str] = ()
    types: Sequence[str] = ()
    type_: Sequence[int] = ()
    value: Sequence[float | None] | None = None
    context: Sequence[Mapping[str, str]] | None = None

    @classmethod
    def of(cls, happenings: Iterable[Happening]) -> "RecentEvents":
        """The columns of some events."""
        columns = [list(column) for column in zip(*happenings, strict=True)]
        if not columns:
            return cls()
        time_us, received_us, item_id, type_, value, context = columns
        types = list(dict.fromkeys(type_))
        place = {name: number for number, name in enumerate(types)}
        return cls(
            time_us,
            received_us,
            item_id,
            types,
            [place[name] for name in type_],
            None if all(v is None for v in value) else value,
            context if any(context) else None,
        )

    @classmethod
    def of_json(cls, values: Sequence[Any]) -> "RecentEvents":
        """The events of the JSON values that `as_json` made."""
        time_us, *rest = values
        return cls(time_us, *rest) if time_us else cls()

    def as_json(self) -> list[Any]:
        """The columns in their order, as JSON values."""
        return [self.time_us, self.received_us, self.item_id, self.types, self.type_, self.value, self.context]

    def chosen(self, positions: Sequence[int]) -> "RecentEvents":
        """The events at some positions, in that order."""

        def taken(column: Sequence[Any] | None) -> list[Any] | None:
            return None if column is None else [column[n] for n in positions]

        return RecentEvents(
            taken(self.time_us) or (),
            taken(self.received_us) or (),
            taken(self.item_id) or (),
            self.types,
            taken(self.type_) or (),
            taken(self.value),
            taken(self.context),
        )

    def __len__(self) -> int:
        return len(self.item_id)

    def __iter__(self) -> Iterator[Happening]:
        return (self[n] for n in range(len(self)))

    @overload
    def __getitem__(self, n: int) -> Happening: ...
    @overload
    def __getitem__(self, n: slice) -> "RecentEvents": ...
    def __getitem__(self, n: int | slice) -> "Happening | RecentEvents":
        if isinstance(n, slice):
            return self.chosen(range(len(self))[n])
        value = None if self.value is None else self.value[n]
        context = {} if self.context is None else self.context[n]
        return Happening(
            self.time_us[n], self.received_us[n], self.item_id[n], self.types[self.type_[n]], value, context
        )


NO_EVENTS = RecentEvents()

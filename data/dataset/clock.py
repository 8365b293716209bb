"""Whether a log has a clock: what is configured, or assumed from its numbers, and whether its times are plausible."""

import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import numpy as np
import pyarrow as pa

from data.sources.schema import DataError
from data.sources.values.times import DAY_S

EARLIEST_S = 631_152_000
"""1990-01-01. Earlier interactions are dated wrongly, unless the log says otherwise."""

DAYS = (EARLIEST_S // DAY_S, 47_482)
"""Numbers of days since 1970 from 1990 to 2100."""

DIGITS = {8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M"}
"""Format of dates that are written as digits, by the number of digits; 14 digits as seconds lie past the year 9999."""

YEARS = (1900, 2100)
"""Years of dates written in digits."""

MUCH = 0.05
"""Share of the interactions from which dates written in digits are refused; below, they may be numbers by chance."""


LOOKED_AT = 1 << 20
"""Number of distinct times that are looked at together."""


class ClockKind(Enum):
    """What the times of a log are."""

    auto = "auto"  # running numbers if none is larger than the number of interactions, seconds otherwise
    seconds = "seconds"  # moments in time
    order = "order"  # running numbers, which order the interactions and say nothing else


@dataclass(frozen=True, slots=True)
class Clock:
    """The times of a log.

    Attributes:
        has_clock: whether times are unix seconds; they are running numbers otherwise.
        assumed: whether that was not configured but concluded from the numbers.
        first: the smallest time.
        last: the largest time.
    """

    has_clock: bool
    assumed: bool
    first: int
    last: int

    def as_manifest(self) -> dict[str, Any]:
        """The clock as the manifest holds it."""
        return asdict(self)

    def formatted(self, at: int) -> str:
        """A time of this log for people: in ISO-8601, or as a running number."""
        if not self.has_clock:
            return f"number {at:,}"
        return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")

    def __str__(self) -> str:
        between = f"from {self.formatted(self.first)} to {self.formatted(self.last)}"
        if self.has_clock:
            how = " (assumed; data.clock=order says that they are running numbers)" if self.assumed else ""
            return f"times {between}{how}"
        how = ": the log has no clock"
        if self.assumed:
            how = ": it is assumed that the log has no clock (data.clock=seconds says that they are times)"
        return f"running numbers {between}{how}"


def clock_of(kind: ClockKind, times: pa.Table, num_raw: int, place: str) -> Clock:
    """The clock of a log.

    Args:
        kind: as configured.
        times: columns `time` (sorted, distinct) and `count`, the number of interactions at that time.
        num_raw: number of interactions in the log. Running numbers that count from 0 or 1 are no larger.
        place: where the log is, for the message.

    Raises:
        DataError: times are dates written in digits, such as 20191001: all of them, or a considerable part of a log
            whose other times are seconds.
    """
    first, last = times["time"][0].as_py(), times["time"][-1].as_py()
    has_clock = last > num_raw if kind is ClockKind.auto else kind is ClockKind.seconds
    if kind is not ClockKind.order:
        _refuse_dates_in_digits(times["time"].to_numpy(), times["count"].to_numpy(), place)
    return Clock(has_clock, kind is ClockKind.auto, first, last)


def clock_notes(clock: Clock, times: pa.Table) -> list[str]:
    """What is implausible about the times of a log; one sentence each."""
    at, count = times["time"].to_numpy(), times["count"].to_numpy()
    if clock.assumed and DAYS[0] <= clock.first and clock.last <= DAYS[1]:
        return [
            f"times from {clock.first} to {clock.last} look like days since 1970: if they are, set"
            " data.source.time_unit=days"
        ]
    if not clock.has_clock:
        return []
    notes, total = [], f"{int(count.sum()):,}"
    first, last = clock.formatted(clock.first), clock.formatted(clock.last)
    if clock.last < EARLIEST_S:
        notes.append(
            f"all times lie before 1990, from {first} to {last}: set"
            " data.source.time_unit if they are not seconds, or data.clock=order if they are running numbers"
        )
    elif early := int(count[at < EARLIEST_S].sum()):
        notes.append(f"{early:,} of {total} interactions are dated before 1990, the first {first}")
    if late := int(count[at > time.time() + DAY_S].sum()):
        notes.append(f"{late:,} of {total} interactions are dated in the future, the last {last}")
    return notes


def _refuse_dates_in_digits(times: np.ndarray, counts: np.ndarray, place: str) -> None:
    """Raises DataError if dates written in digits make up MUCH of the log: they would be read as seconds."""
    total = int(counts.sum())
    for digits, form in DIGITS.items():
        num_dates, example = 0, ""
        for start in range(0, len(times), LOOKED_AT):
            part = times[start : start + LOOKED_AT]
            is_date = _are_dates(part, digits)
            num_dates += int(counts[start : start + LOOKED_AT][is_date].sum())
            example = example or next(map(str, part[is_date][:1]), "")
        if num_dates and num_dates >= MUCH * total and (date := _date(example, form)):
            raise DataError(
                f"{place}: the times of {num_dates:,} of {total:,} interactions are dates written in digits, such as"
                f" {example}, which would count as seconds since 1970: write {date} instead; if the times are no more"
                " than an order, set data.clock=order"
            )


def _are_dates(times: np.ndarray, digits: int) -> np.ndarray:
    """bool: which times have so many digits that read as year, month, day, and perhaps hour and minute."""
    year, rest = np.divmod(times, 10 ** (digits - 4))
    found = (year >= YEARS[0]) & (year <= YEARS[1])
    for least, most in ((1, 12), (1, 31), (0, 23), (0, 59))[: digits // 2 - 2]:
        digits -= 2
        part, rest = np.divmod(rest, 10 ** (digits - 4))
        found &= (part >= least) & (part <= most)
    return found


def _date(digits: str, form: str) -> str | None:
    try:
        found = datetime.strptime(digits, form)
    except ValueError:
        return None
    return found.isoformat(" ") if YEARS[0] <= found.year <= YEARS[1] else None

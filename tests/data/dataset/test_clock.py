"""Whether a log has a clock: as configured, or as its numbers say; implausible times are said."""

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data.dataset.clock import ClockKind, clock_notes, clock_of
from data.sources.schema import DataError
from tests.data.dataset.test_preparation import prepared, written

AUTO, SECONDS, ORDER = ClockKind.auto, ClockKind.seconds, ClockKind.order
SUMMER = 1_719_792_000  # 2024-07-01


def counted(*times: int) -> pa.Table:
    return pa.table({"time": pa.array(times, pa.int64()), "count": np.ones(len(times), np.int64)})


@pytest.mark.parametrize(
    ("kind", "times", "has_clock"),
    [
        (AUTO, (0, 1, 2), False),
        (AUTO, (1, 2, 3), False),
        (AUTO, (1, 2, 4), True),
        (SECONDS, (0, 1, 2), True),
        (ORDER, (SUMMER, SUMMER + 1, SUMMER + 2), False),
    ],
)
def test_what_is_configured_holds_and_auto_goes_by_the_numbers(
    kind: ClockKind, times: tuple[int, ...], has_clock: bool
) -> None:
    clock = clock_of(kind, counted(*times), len(times), "log")
    assert (clock.has_clock, clock.assumed) == (has_clock, kind is AUTO)
    assert ("assumed" in str(clock)) == (kind is AUTO)


def test_first_and_last_are_shown() -> None:
    clock = clock_of(AUTO, counted(SUMMER, SUMMER + 61), 2, "log")
    assert "from 2024-07-01T00:00:00Z to 2024-07-01T00:01:01Z" in str(clock)
    assert not clock_notes(clock, counted(SUMMER, SUMMER + 61))
    assert "from number 0 to number 1,999" in str(clock_of(ORDER, counted(0, 1999), 2, "log"))


@pytest.mark.parametrize(
    ("times", "date"),
    [
        ((20_190_930, 20_191_001), "2019-09-30 00:00:00"),
        ((2_019_093_023, 2_019_100_100), "2019-09-30 23:00:00"),
        ((201_909_302_359, 201_910_010_000), "2019-09-30 23:59:00"),
    ],
)
def test_dates_in_digits_are_refused(times: tuple[int, ...], date: str) -> None:
    for num_raw in (2, 10**9):
        with pytest.raises(DataError, match=rf"log: .* digits, such as {times[0]}.* write {date} .*data\.clock=order"):
            clock_of(AUTO, counted(*times), num_raw, "log")
    assert not clock_of(ORDER, counted(*times), 2, "log").has_clock


@pytest.mark.parametrize("times", [(20_190_999, 20_191_399), (18_170, 18_171), tuple(range(20_000_000, 20_050_000))])
def test_other_numbers_are_no_dates(times: tuple[int, ...]) -> None:
    clock_of(AUTO, counted(*times), 2, "log")


def test_dates_in_digits_among_other_times_are_refused() -> None:
    """Half of the log says 20240101, the other half 2024-01-01."""
    with pytest.raises(
        DataError, match="the times of 1 of 2 interactions are dates written in digits, such as 20240101"
    ):
        clock_of(AUTO, counted(20_240_101, SUMMER), 2, "log")
    rare = counted(20_240_101, *range(SUMMER, SUMMER + 99))
    assert "1 of 100 interactions are dated before 1990" in clock_notes(clock_of(AUTO, rare, 2, "log"), rare)[0]


@pytest.mark.parametrize("num_raw", [2, 10**6])
def test_days_since_1970_are_suspected(num_raw: int) -> None:
    times = counted(18_170, 19_999)
    (note,) = clock_notes(clock_of(AUTO, times, num_raw, "log"), times)
    assert "look like days since 1970" in note and "data.source.time_unit=days" in note


def test_implausible_times_are_said() -> None:
    def notes(*times: int) -> list[str]:
        return clock_notes(clock_of(SECONDS, counted(*times), 9, "log"), counted(*times))

    assert "all times lie before 1990, from 1970-01-01T00:00:05Z" in notes(5, 6)[0]
    assert "1 of 2 interactions are dated before 1990, the first 1970-01-01T00:00:05Z" in notes(5, SUMMER)[0]
    assert "1 of 2 interactions are dated in the future" in notes(SUMMER, int(time.time()) + 10**6)[0]


def test_running_numbers_may_be_of_any_size(ray_session: None, tmp_path: Path) -> None:
    """The numbers of Snowflake ids: as seconds they lie past the year 9999, and as microseconds many would be one."""
    times = [(1 << 60) + number for number in (3, 1, 2, 6, 5, 4)]
    log = written(tmp_path, user_id=[*"aaabbb"], item_id=[*"xyzxyz"], time=times)
    with pytest.raises(DataError, match=r"lies past the year 9999 .* if these are running numbers, set data\.clock"):
        prepared(tmp_path, log)
    dataset = prepared(tmp_path, [*log, "data.clock=order"])
    assert dataset.clock is not None and (dataset.clock.has_clock, dataset.clock.last) == (False, max(times))
    read = [dataset.interactions(name)["time"].to_pylist() for name in ("train", "validation", "test")]
    assert [[at - (1 << 60) for at in part] for part in read] == [[1, 4], [2, 5], [3, 6]]

"""The thread that makes blocking calls for an event loop: groups, bounds, failures, cancelled tasks."""

import asyncio
import threading

import pytest

from serve.events.threads import GroupingThread, Overloaded


class Calls:
    """A blocking function that waits until it may go on."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []
        self.may_go_on = threading.Event()
        self.has_begun = threading.Event()

    def __call__(self, numbers: list[int]) -> list[int]:
        self.seen.append(numbers)
        self.has_begun.set()
        self.may_go_on.wait(10)
        if 13 in numbers:
            raise OSError("thirteen")
        return [2 * number for number in numbers]


async def begun(calls: Calls, thread: GroupingThread[int, int], first: list[int]) -> "asyncio.Task[object]":
    task = asyncio.ensure_future(thread(first))
    await asyncio.to_thread(calls.has_begun.wait, 10)
    return task


async def test_what_waits_at_the_same_time_goes_together() -> None:
    thread = GroupingThread("test", calls := Calls(), max_group=4, max_waiting=10)
    tasks = [await begun(calls, thread, [1])]
    tasks += [asyncio.ensure_future(thread(numbers)) for numbers in ([2, 3], [4], [5, 6])]
    await asyncio.sleep(0)
    calls.may_go_on.set()
    assert await asyncio.gather(*tasks) == [[2], [4, 6], [8], [10, 12]]
    assert calls.seen == [[1], [2, 3, 4], [5, 6]]
    thread.close()
    assert not thread.is_alive


async def test_a_failure_reaches_all_that_were_in_it_and_no_others() -> None:
    thread = GroupingThread("test", calls := Calls(), max_group=10, max_waiting=10)
    first = await begun(calls, thread, [1])
    others = [asyncio.ensure_future(thread(numbers)) for numbers in ([13], [2])]
    await asyncio.sleep(0)
    calls.may_go_on.set()
    assert await first == [2]
    assert [type(found) for found in await asyncio.gather(*others, return_exceptions=True)] == [OSError, OSError]
    assert await thread([4]) == [8]
    thread.close()


async def test_too_much_that_waits_is_refused_and_what_waits_is_worked_off_at_the_end() -> None:
    thread = GroupingThread("test", calls := Calls(), max_group=1, max_waiting=3)
    tasks = [await begun(calls, thread, [1]), asyncio.ensure_future(thread([2, 3]))]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await thread([4])
    calls.may_go_on.set()
    await asyncio.to_thread(thread.close)
    assert await asyncio.gather(*tasks) == [[2], [4, 6]]
    with pytest.raises(Overloaded):
        await thread([4])


async def test_a_task_that_is_cancelled_before_its_turn_is_left_out() -> None:
    thread = GroupingThread("test", calls := Calls(), max_group=10, max_waiting=10)
    first = await begun(calls, thread, [1])
    cancelled = asyncio.ensure_future(thread([2]))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.sleep(0)
    calls.may_go_on.set()
    assert await first == [2]
    assert await thread([3]) == [6]
    assert calls.seen == [[1], [3]]
    thread.close()


async def test_a_call_that_takes_long_can_be_told() -> None:
    thread = GroupingThread("test", calls := Calls(), max_group=1, max_waiting=3)
    assert thread.busy_s == 0
    task = await begun(calls, thread, [1])
    await asyncio.sleep(0.02)
    assert thread.busy_s >= 0.02
    calls.may_go_on.set()
    await task
    thread.close()
    assert thread.busy_s == 0

"""What waits travels together; nobody waits for a call that hangs, nor answers for another's fault."""

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar

import pytest

from serve.pipeline.remote_batcher import CONCURRENT_CALLS, EXTRA_CALL_SIZE, MAX_CALL_SIZE, RemoteBatcher

caller = ContextVar("caller", default="nobody")


class Line:
    """The other end: calls that end when they are told to, each number doubled."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.gates: list[asyncio.Event] = []
        self.cancelled = 0
        self.callers: set[str] = set()

    async def __call__(self, numbers: list[int]) -> Sequence[int | Exception]:
        self.calls.append(numbers)
        self.callers.add(caller.get())
        gate = asyncio.Event()
        self.gates.append(gate)
        try:
            await gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if 13 in numbers:
            raise RuntimeError("all of them")
        return [ValueError("this one") if n < 0 else 2 * n for n in numbers]


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def ask(batcher: RemoteBatcher[int, int], *numbers: int) -> list["asyncio.Task[int]"]:
    return [asyncio.ensure_future(batcher(n)) for n in numbers]


async def test_what_comes_together_or_while_calls_are_under_way_travels_together() -> None:
    line = Line()
    batcher = RemoteBatcher(line)
    asked = ask(batcher, 0, 1)
    await turns()
    for n in range(2, 2 + CONCURRENT_CALLS):  # one call more, then these wait
        asked += ask(batcher, n)
        await turns()
    assert line.calls == [[0, 1], [2]]
    line.gates[0].set()
    await turns()
    assert line.calls[2:] == [[3]]
    for gate in line.gates:
        gate.set()
    assert await asyncio.gather(*asked) == [2 * n for n in range(2 + CONCURRENT_CALLS)]


async def test_many_that_wait_get_more_calls() -> None:
    line = Line()
    batcher = RemoteBatcher(line)
    ask(batcher, 0)
    await turns()
    ask(batcher, 1)
    await turns()
    ask(batcher, *range(EXTRA_CALL_SIZE - 1))
    await turns()
    assert len(line.calls) == CONCURRENT_CALLS
    ask(batcher, *range(MAX_CALL_SIZE))
    await turns()
    assert [len(call) for call in line.calls[CONCURRENT_CALLS:]] == [MAX_CALL_SIZE], "what is left over is not enough"


async def test_calls_that_nobody_waits_for_are_cancelled_and_make_room() -> None:
    line = Line()
    batcher = RemoteBatcher(line)
    hanging = ask(batcher, 0, 1)
    await turns()
    hanging += ask(batcher, 2)
    await turns()
    late = ask(batcher, 3)
    hanging[0].cancel()
    await turns()
    assert (len(line.calls), line.cancelled) == (CONCURRENT_CALLS, 0), (
        "the second request of the first call still waits"
    )
    hanging[1].cancel()
    await turns()
    assert line.cancelled == 1
    assert line.calls[CONCURRENT_CALLS:] == [[3]]
    line.gates[-1].set()
    assert await late[0] == 6


async def test_those_that_were_given_up_do_not_travel() -> None:
    line = Line()
    batcher = RemoteBatcher(line)
    for n in range(CONCURRENT_CALLS):
        ask(batcher, n)
        await turns()
    given_up, waiting = ask(batcher, 7, 8)
    await turns()
    given_up.cancel()
    line.gates[0].set()
    await turns()
    assert line.calls[CONCURRENT_CALLS:] == [[8]]
    waiting.cancel()


async def test_an_error_reaches_those_that_it_concerns() -> None:
    line = Line()
    batcher = RemoteBatcher(line)
    first = ask(batcher, 1, -1)
    await turns()
    second = ask(batcher, 13, 2)
    await turns()
    for gate in line.gates:
        gate.set()
    assert await first[0] == 2
    with pytest.raises(ValueError, match="this one"):
        await first[1]
    for task in second:
        with pytest.raises(RuntimeError, match="all of them"):
            await task


async def test_a_call_runs_in_no_requests_context() -> None:
    line = Line()
    caller.set("somebody")
    ask(RemoteBatcher(line), 1)
    await turns()
    assert line.callers == {"nobody"}

"""What waits at the same time goes together; nobody waits for longer than the call under way."""

import asyncio
import threading
import time
from collections.abc import Sequence

import pytest

from serve.index.micro_batcher import INLINE_S, MicroBatcher


def test_those_that_come_together_go_together_and_get_their_own_answers() -> None:
    batches: list[list[int]] = []

    def double(numbers: Sequence[int]) -> list[int]:
        batches.append(list(numbers))
        return [2 * n for n in numbers]

    async def ask() -> list[int]:
        batcher = MicroBatcher(double, max_batch_size=4)
        return [await batcher(10), *await asyncio.gather(*map(batcher, range(6)))]

    assert asyncio.run(ask()) == [20, 0, 2, 4, 6, 8, 10]
    assert batches == [[10], [0, 1, 2, 3], [4, 5]]


def test_a_long_call_leaves_the_loop_free_and_gathers_the_next_batch() -> None:
    threads, sizes = set(), []
    loop_turned = threading.Event()

    def slow(numbers: Sequence[int]) -> list[int]:
        threads.add(threading.current_thread().name)
        sizes.append(len(numbers))
        if len(sizes) <= 20:  # until the batcher knows that the call is long
            time.sleep(20 * INLINE_S)
        elif len(sizes) == 21:
            assert loop_turned.wait(timeout=60), "the loop is not free while a long call runs"
        return list(numbers)

    async def ask() -> int:
        batcher, turns = MicroBatcher(slow), 0
        for _ in range(20):
            await batcher(0)
        first = asyncio.create_task(batcher(1))
        while len(sizes) < 21:
            await asyncio.sleep(0)
        others = [asyncio.create_task(batcher(n)) for n in range(5)]
        while not first.done():
            turns += 1
            if turns > 10:
                loop_turned.set()
            await asyncio.sleep(0)
        assert await asyncio.gather(*others) == list(range(5))
        return turns

    assert asyncio.run(ask()) > 10
    assert sizes[-1] == 5
    assert any(name.startswith("batch") for name in threads)


def test_an_error_reaches_those_that_it_concerns() -> None:
    def picky(numbers: Sequence[int]) -> list[int | Exception]:
        if 13 in numbers:
            raise RuntimeError("all of them")
        return [ValueError("this one") if n < 0 else n for n in numbers]

    async def ask() -> None:
        batcher = MicroBatcher(picky)
        found = await asyncio.gather(batcher(1), batcher(-1), return_exceptions=True)
        assert found[0] == 1
        assert isinstance(found[1], ValueError)
        with pytest.raises(RuntimeError, match="all of them"):
            await batcher(13)
        assert await batcher(2) == 2

    asyncio.run(ask())


def test_what_was_given_up_is_not_computed() -> None:
    seen: list[int] = []

    async def ask() -> None:
        batcher = MicroBatcher(lambda numbers: seen.extend(numbers) or list(numbers))
        given_up, wanted = asyncio.create_task(batcher(1)), asyncio.create_task(batcher(2))
        await asyncio.sleep(0)
        given_up.cancel()
        assert await wanted == 2

    asyncio.run(ask())
    assert seen == [2]

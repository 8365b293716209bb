"""Tasks in the background: they survive what a round raises, say what hangs, and end where they are told to."""

import asyncio
import subprocess
import sys
from typing import Any, cast

import pytest

from data.cluster.background import PeriodicTask, in_own_thread
from data.cluster.failure_log import FailureLog


class Rounds:
    """Rounds that fail, hang, or end."""

    def __init__(self) -> None:
        self.num, self.num_at_once, self.fails = 0, 0, False
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def __call__(self) -> None:
        self.num += 1
        self.num_at_once += 1
        assert self.num_at_once == 1
        try:
            await self.may_end.wait()
            if self.fails:
                raise OSError("no")
        finally:
            self.num_at_once -= 1


def task_of(rounds: Rounds, said: list[str]) -> PeriodicTask:
    log = cast(FailureLog, lambda place, error: said.append(f"{place}: {error}"))
    return PeriodicTask("records", rounds, 0.001, log, late_s=0.05)


async def until(holds: Any) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.005)


async def test_what_a_round_raises_is_logged_and_the_next_one_is_done() -> None:
    rounds, said = Rounds(), list[str]()
    rounds.fails = True
    task = task_of(rounds, said)
    await until(lambda: rounds.num > 3)
    assert set(said) == {"records failed: no"}
    assert (task.is_running, task.is_late, task.problem) == (True, False, None)


async def test_a_round_that_hangs_is_named_and_there_is_no_second_one() -> None:
    rounds, said = Rounds(), list[str]()
    task = task_of(rounds, said)
    await until(lambda: rounds.num > 2)
    rounds.may_end.clear()
    await until(lambda: task.is_late and said)
    num = rounds.num
    assert said[0] == "records failed: no answer in 0.05 s"
    assert task.is_running
    assert task.problem is not None
    assert task.problem.startswith("records: no round has ended for ")
    assert task.age_s >= 0.05
    await asyncio.sleep(0.02)
    assert rounds.num == num
    rounds.may_end.set()
    await until(lambda: rounds.num > num)
    assert task.problem is None


async def test_a_task_that_is_cancelled_says_so_and_ends_its_round() -> None:
    rounds = Rounds()
    rounds.may_end.clear()
    task = task_of(rounds, [])
    await until(lambda: rounds.num_at_once == 1)
    task.cancel()
    await until(lambda: not task.is_running and rounds.num_at_once == 0)
    assert task.problem == "records: ended"


async def test_a_call_in_a_thread_of_its_own_returns_and_raises() -> None:
    assert await in_own_thread("test", lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        await in_own_thread("test", lambda: 1 // 0)


def test_a_process_ends_though_a_call_hangs() -> None:
    code = (
        "import asyncio, time; from data.cluster.background import in_own_thread\n"
        "async def main():\n"
        "    await asyncio.wait({asyncio.ensure_future(in_own_thread('hangs', lambda: time.sleep(600)))}, timeout=.1)\n"
        "asyncio.run(main())"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=120, check=False).returncode == 0

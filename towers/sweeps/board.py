"""Where trials report their epochs, and hear whether to go on."""

import asyncio
import time

Report = tuple[int, int, dict[str, float]]
"""Number of the trial, epoch, values."""

ANSWER_WITHIN_S = 10.0
"""A trial that hears nothing for so long goes on."""


class Board:
    """An actor. All trials' reports, in order. A trial waits for its answer only where somebody judges."""

    def __init__(self, judged: bool) -> None:
        self._judged = judged
        self._reports: list[Report] = []
        self._signs: dict[int, float] = {}
        self._answers: dict[tuple[int, int], asyncio.Future[bool]] = {}

    async def report(self, number: int, epoch: int, values: dict[str, float]) -> bool:
        """An epoch is over; says whether there shall be another one."""
        self._reports.append((number, epoch, values))
        if not self._judged:
            return True
        answer = self._answers.setdefault((number, epoch), asyncio.get_running_loop().create_future())
        try:
            return await asyncio.wait_for(asyncio.shield(answer), ANSWER_WITHIN_S)
        except TimeoutError:
            return True

    async def answer(self, number: int, epoch: int, goes_on: bool) -> None:
        answer = self._answers.setdefault((number, epoch), asyncio.get_running_loop().create_future())
        if not answer.done():
            answer.set_result(goes_on)

    async def sign(self, number: int) -> None:
        """The trial's process has begun its work."""
        self._signs[number] = time.time()

    async def since(self, index: int) -> tuple[list[Report], dict[int, float]]:
        """The reports from this one on, and when each trial began."""
        return self._reports[index:], self._signs

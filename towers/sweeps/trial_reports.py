"""The actor to which the trials of a sweep report their epochs, and which answers whether they should continue."""

import asyncio
import time
from collections.abc import Mapping
from typing import NamedTuple


class EpochReport(NamedTuple):
    """What a trial reports at the end of an epoch.

    Attributes:
        number: number of the trial.
        epoch: the epoch that has ended.
        values: metrics by name.
    """

    number: int
    epoch: int
    values: dict[str, float]


DECISION_TIMEOUT_S = 10.0
"""Seconds after which a trial that waits for a decision continues without one."""


class TrialReports:
    """Keeps the reports of all trials in order of arrival. Trials wait for a decision only where the sweep prunes."""

    def __init__(self, prunes: bool, datasets: Mapping[str, str] | None = None) -> None:
        """Has no reports yet.

        Args:
            prunes: whether trials wait for a decision.
            datasets: the first datasets of a launch before this one, by what they are made of.
        """
        self._prunes = prunes
        self._reports: list[EpochReport] = []
        self._started_at: dict[int, float] = {}
        self._alive_at: dict[int, float] = {}
        self._decisions: dict[tuple[int, int], asyncio.Future[bool]] = {}
        self._datasets = dict(datasets or {})

    async def report_epoch(self, number: int, epoch: int, values: dict[str, float]) -> bool:
        """Records a finished epoch of a trial. Returns whether the trial should continue."""
        self._reports.append(EpochReport(number, epoch, values))
        if not self._prunes:
            return True
        try:
            return await asyncio.wait_for(asyncio.shield(self._decision(number, epoch)), DECISION_TIMEOUT_S)
        except TimeoutError:
            return True

    async def decide(self, number: int, epoch: int, should_continue: bool) -> None:
        """Answers the trial that waits, or is about to wait, after this epoch."""
        decision = self._decision(number, epoch)
        if not decision.done():
            decision.set_result(should_continue)

    async def report_start(self, number: int) -> None:
        """Records that the process of a trial has begun its work."""
        self._started_at[number] = time.time()

    async def report_alive(self, number: int) -> None:
        """Records that a trial does not hang, although it has no epoch to report."""
        self._alive_at[number] = time.time()

    async def first_dataset(self, key: str, name: str | None = None) -> str | None:
        """The name of the dataset that a trial was the first to come with; where there is none, the given one is it.

        Args:
            key: what the dataset is made of, and where it lies.
            name: that of the trial that asks; None where it has none yet.
        """
        return self._datasets.get(key) if name is None else self._datasets.setdefault(key, name)

    async def datasets(self) -> dict[str, str]:
        """The first datasets by what they are made of."""
        return self._datasets

    async def since(self, index: int) -> tuple[list[EpochReport], dict[int, float], dict[int, float]]:
        """The reports from `index` on, and when each trial has begun its work, and has last said that it waits.

        Both are in unix seconds, by the number of the trial.
        """
        return self._reports[index:], self._started_at, self._alive_at

    def _decision(self, number: int, epoch: int) -> asyncio.Future[bool]:
        return self._decisions.setdefault((number, epoch), asyncio.get_running_loop().create_future())

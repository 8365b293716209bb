"""Where the trials of a sweep come from. Those of a search come from towers/sweeps/search."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Protocol

from hydra.core.utils import JobReturn, JobStatus, filter_overrides

from towers.sweeps.records import Record


class TrialSource(Protocol):
    """Where trials come from: a fixed list, or a search (towers/sweeps/search).

    Attributes:
        prunes: whether the source may stop trials early; trials then wait for its decision after each epoch.
        learns: whether trials depend on how earlier ones ended: then one at a time waits, unless max_concurrent is set.
    """

    prunes: bool
    learns: bool

    def heartbeat(self) -> None:
        """Called in every round of the sweep, also where no trial is asked for because all places are taken."""

    def next_trial(self) -> tuple[int, list[str]] | None:
        """Number and overrides of another trial; None where there is none, or none yet."""

    def withdraw(self, number: int) -> bool:
        """Whether a trial that waits for a place is not wanted any more; the source then forgets it."""

    def should_continue(self, number: int, epoch: int, values: Mapping[str, float]) -> bool:
        """Takes the values of a trial's epoch, but not of its last one; returns whether the trial should continue."""

    def objection(self, record: Record) -> str | None:
        """Why a finished trial is of no use to the source, and counts as failed; None where it is of use."""

    def trial_ended(self, record: Record, job: JobReturn | None) -> None:
        """Takes the end of a trial; `job` is None where its process was lost or never ran."""


class TrialFailed(RuntimeError):
    """A trial of the sweep did not finish."""


class FixedTrials:
    """Trials that are known before the sweep starts, such as a grid, as Hydra's own sweepers hand them over.

    Attributes:
        done: records of trials that an earlier launch has completed, by their overrides; they do not run again.
    """

    prunes = False
    learns = False

    def __init__(self, jobs: Sequence[list[str]], first_number: int, earlier: Sequence[Record]) -> None:
        """Queues the jobs that no earlier launch has completed.

        Where the sweep has changed since, a number that belongs to another trial is not given again, because a trial's
        folder has its name.

        Args:
            jobs: the overrides of each trial.
            first_number: number of the first trial; the others follow.
            earlier: records of earlier launches of the same sweep.
        """
        self.done = {tuple(r.overrides): r for r in earlier if r.state.is_done and r.overrides in jobs}
        numbered = _numbered(jobs, first_number, earlier)
        self._waiting = deque((number, job) for number, job in numbered if tuple(job) not in self.done)
        self._ended: dict[tuple[str, ...], tuple[Record, JobReturn | None]] = {}

    def heartbeat(self) -> None:
        return None

    def next_trial(self) -> tuple[int, list[str]] | None:
        return self._waiting.popleft() if self._waiting else None

    def withdraw(self, number: int) -> bool:
        return False

    def should_continue(self, number: int, epoch: int, values: Mapping[str, float]) -> bool:
        return True

    def objection(self, record: Record) -> str | None:
        return None

    def trial_ended(self, record: Record, job: JobReturn | None) -> None:
        self._ended[tuple(record.overrides)] = record, job

    def job_return(self, overrides: list[str]) -> JobReturn:
        """What a trial returned, now or in an earlier launch. Its value raises where the trial did not finish."""
        record, job = self._ended.get(tuple(overrides), (self.done.get(tuple(overrides)), None))
        assert record is not None, "the sweep ran until every trial had ended"
        if job is not None:
            return job
        found = JobReturn(overrides=filter_overrides(overrides), status=JobStatus.COMPLETED)
        found.return_value = record.result
        if not record.state.is_done:
            found.status, found.return_value = JobStatus.FAILED, TrialFailed(f"trial {record.number}: {record.reason}")
        return found


def _numbered(
    jobs: Sequence[list[str]], first_number: int, earlier: Sequence[Record]
) -> Iterator[tuple[int, list[str]]]:
    """The jobs with their numbers: the one of before, or its place; a further one where another trial has that."""
    of_job = {tuple(record.overrides): record.number for record in earlier}
    taken = {record.number for record in earlier}
    further = count(max([*taken, first_number + len(jobs) - 1], default=0) + 1)
    for place, job in enumerate(jobs, first_number):
        number = of_job.get(tuple(job), place)
        yield next(further) if number in taken and tuple(job) not in of_job else number, job

"""Jobs that are known beforehand, as Hydra's own sweepers hand them over."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from hydra.core.utils import JobReturn, JobStatus, filter_overrides

from towers.sweeps.records import Record


class TrialFailed(RuntimeError):
    """A trial of the sweep did not finish."""


@dataclass
class Listed:
    """Jobs that are known beforehand; those that are done are not done again."""

    jobs: list[list[str]]
    first: int
    known: list[Record]
    judges: bool = False
    ahead: int = 1
    ended_jobs: dict[tuple[str, ...], tuple[Record, JobReturn | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.done = {tuple(r.overrides): r for r in self.known if r.state.is_done and r.overrides in self.jobs}
        numbered = list(enumerate(self.jobs, self.first))
        self._waiting = deque((number, job) for number, job in numbered if tuple(job) not in self.done)

    def next(self) -> tuple[int, list[str]] | None:
        return self._waiting.popleft() if self._waiting else None

    def reported(self, number: int, epoch: int, values: Mapping[str, float]) -> bool:
        return True

    def ended(self, record: Record, job: JobReturn | None) -> None:
        self.ended_jobs[tuple(record.overrides)] = record, job

    def returned(self, overrides: list[str]) -> JobReturn:
        """What a job returned, now or in an earlier launch."""
        record, job = self.ended_jobs.get(tuple(overrides), (self.done.get(tuple(overrides)), None))
        assert record is not None, "the sweep ran until every job had ended"
        if job is not None:
            return job
        found = JobReturn(overrides=filter_overrides(overrides), status=JobStatus.COMPLETED)
        found.return_value = record.result
        if not record.state.is_done:
            found.status, found.return_value = JobStatus.FAILED, TrialFailed(f"trial {record.number}: {record.reason}")
        return found

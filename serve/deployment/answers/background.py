"""What an ingress replica does in the background, and whether it does: metrics, records of answers, popular items."""

from data.cluster.background import PeriodicTask
from data.cluster.failure_log import FailureLog
from serve.access.control import AccessControl
from serve.deployment.answers.popular_items import PopularItems
from serve.deployment.answers.records import AnswerRecords
from serve.deployment.release_runtime import ReleaseRuntime
from serve.events.service import EVENTS_LATE_S, UserEvents
from serve.observability.metrics import Metrics
from serve.rollout.follower import ReleaseFollower

log_failure = FailureLog("ingress")

EVERY_S = 1.0
"""Seconds between two updates of metrics, and two looks whether records of answers are to be written."""

WRITE_LATE_S = 30.0
"""Seconds after which a write of records hangs: those of a busy replica take some seconds, with pauses."""


class BackgroundTasks:
    """The tasks of an ingress replica, which wait for each other at no time.

    Metrics wait for nothing at all, so that they say what hangs.

    Args:
        releases: Followed by a task of their own, and so are the keys of `access`.
        access: Counts calls.
        metrics: Exported.
        records: Written.
        popular: Refreshed.
        events: Threads of their own take events and read states; None where events are off.
    """

    def __init__(
        self,
        releases: ReleaseFollower[ReleaseRuntime],
        access: AccessControl,
        metrics: Metrics,
        records: AnswerRecords,
        popular: PopularItems,
        events: UserEvents | None,
    ) -> None:
        self._releases, self._access, self._metrics = releases, access, metrics
        self._records, self._events = records, events
        following = [releases.following, *([access.following] if access.following else [])]
        self._tasks = [
            *following,
            PeriodicTask("metrics", self._export, EVERY_S, log_failure),
            PeriodicTask("records", records.flush, EVERY_S, log_failure, late_s=WRITE_LATE_S),
            PeriodicTask("popular items", popular.refresh, EVERY_S, log_failure),
        ]

    async def _export(self) -> None:
        runtime = self._releases.loaded
        self._metrics.flush(runtime.adapter.release_id, runtime.breakers, self._releases.is_stale)
        self._metrics.flush_calls(self._access.take_calls())
        self._metrics.flush_lost(self._records.take_lost())
        late = {task.name: task.is_late for task in self._tasks}
        self._metrics.flush_late(late if self._events is None else late | {"events": self._events.is_late})

    @property
    def ended(self) -> list[str]:
        """What has ended and is not done any more: a new replica is needed."""
        problems = [task.problem for task in self._tasks if not task.is_running and task.problem]
        return problems + ["events: a thread has ended"] * (self._events is not None and not self._events.is_alive)

    @property
    def late(self) -> list[str]:
        """What takes too long now, as on a storage that hangs. A new replica would fare no better."""
        problems = [task.problem for task in self._tasks if task.is_late and task.problem]
        hangs = self._events is not None and self._events.is_late
        return problems + [f"events: the store has not answered for more than {EVENTS_LATE_S:g} s"] * hangs

    def ages_s(self) -> dict[str, float]:
        """Seconds since each task has ended a round."""
        return {task.name: round(task.age_s, 1) for task in self._tasks}

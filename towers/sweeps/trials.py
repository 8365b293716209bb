"""Trials side by side on a Ray cluster: each in a placement group that holds all its workers, or not started at all.

So no trial keeps another from its workers, and a placement group that is removed takes the processes of its trial with
it. Ray Data's tasks run outside of any placement group (Ray has it so): a trial is placed only where CPUs remain for
its own. What waits for a place is asked of an autoscaling cluster.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from threading import Event
from typing import Protocol

import ray
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from ray.actor import ActorHandle
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayError, RayTaskError
from ray.train import WorkerGroupError
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from data.artifacts.errors import one_line
from towers.sweeps.board import Board
from towers.sweeps.job import Sweep, bundles, run
from towers.sweeps.placement import Places, Running
from towers.sweeps.records import Record, Records, State
from towers.sweeps.settings import LauncherConfig
from towers.sweeps.trial import Pruned

LOOK_S, SOON_S = 0.1, 0.01
"""Between two looks at the trials, at most; and while one is about to get its place."""

AT_ONCE = 64
"""Trials that are placed or wait for a place, unless told otherwise."""


class Source(Protocol):
    """Where trials come from and what they tell."""

    judges: bool
    """Does it stop trials?"""

    ahead: int
    """Trials that may be made ready while there is no room for them; a search would rather wait for what is told."""

    def next(self) -> tuple[int, list[str]] | None:
        """Number and overrides of another trial; None where there is none, or none yet."""

    def reported(self, number: int, epoch: int, values: Mapping[str, float]) -> bool:
        """A trial's epoch; says whether it goes on."""

    def ended(self, record: Record, job: JobReturn | None) -> None:
        """A trial's end; `job` where its process came to an end of its own."""


class Trials:
    """Runs what a source gives, until it gives no more and all have ended."""

    def __init__(
        self,
        settings: LauncherConfig,
        sweep: Sweep,
        source: Source,
        records: Records,
        places: Places,
        watch: Callable[[Sequence[Running], Sequence[Record], str | None], None],
        stop: Event,
    ) -> None:
        """`watch(running, ended, what is waited for)` is called at every look; `stop`: Ctrl-C was pressed."""
        self._settings, self._sweep, self._source, self._records, self._watch = settings, sweep, source, records, watch
        self._shared = ray.put(sweep)
        self._board: ActorHandle = ray.remote(num_cpus=0, max_concurrency=10_000)(Board).remote(source.judges)
        self._running: dict[int, Running] = {}
        self._ended: list[Record] = []
        self._most = settings.max_concurrent or AT_ONCE
        self._seen = 0
        self._places, self._stop = places, stop

    def run(self) -> list[Record]:
        """All that ended, in the order of their ends. Whatever stops it, no process of a trial is left."""
        try:
            while self._fill() or self._running:
                if self._stop.is_set():
                    raise KeyboardInterrupt
                self._look()
                running = list(self._running.values())
                self._watch(running, self._ended, self._places.notice(running))
        except KeyboardInterrupt:
            for trial in list(self._running.values()):
                self._end(trial, State.interrupted, "the sweep was stopped")
            raise
        finally:
            for trial in self._running.values():
                trial.leave()
            self._places.close()
            ray.kill(self._board)
            self._watch([], self._ended, None)
        return self._ended

    def _fill(self) -> bool:
        """Takes trials from the source as long as there is room for more."""
        while len(self._running) < self._most + self._source.ahead:
            if (following := self._source.next()) is None:
                return False
            self._place(*following)
        return True

    def _place(self, number: int, overrides: list[str], attempts: int = 1) -> None:
        """A trial waits for its place from now on; with a mistake in its config, or where no room will be, it fails."""
        trial = Running(number=number, overrides=overrides, asked_at=time.time(), attempts=attempts)
        self._running[number] = trial
        try:
            config = self._sweep.composed(number, overrides)
            trial.workers, trial.labels = bundles(self._sweep.task_function.__module__, config)
            trial.num_epochs = config.train.epochs if "train" in config else None
            reason = self._places.lacking(trial)
        except (ValueError, HydraException, OmegaConfBaseException) as e:
            reason = f"{type(e).__name__}: {one_line(e)}"
        if reason is not None:
            self._end(trial, State.failed, reason)

    def _look(self) -> None:
        """Starts what has its place, hears what is reported, and takes what has ended."""
        self._places.give(list(self._running.values())[: self._most])
        for trial in [t for t in self._running.values() if t.task is None and t.is_placed]:
            self._start(trial)
        placed = any(t.task is None and t.group is not None for t in self._running.values())
        tasks = {t.task: t for t in self._running.values() if t.task is not None}
        if tasks:
            ray.wait(list(tasks), timeout=SOON_S if placed else LOOK_S)
        else:
            time.sleep(SOON_S if placed else LOOK_S)
        self._hear()
        for task in ray.wait(list(tasks), num_returns=len(tasks), timeout=0)[0] if tasks else []:
            self._take(tasks[task])
        for trial in list(self._running.values()):
            if (reason := self._overdue(trial)) is not None:
                self._lose(trial, reason)

    def _start(self, trial: Running) -> None:
        own = len(trial.workers)
        strategy = PlacementGroupSchedulingStrategy(trial.group, own, placement_group_capture_child_tasks=True)
        trial.started_at = trial.signed_at = time.time()
        trial.task = run.options(
            scheduling_strategy=strategy, name=f"trial {trial.number}", runtime_env=self._settings.environment() or None
        ).remote(self._shared, trial.number, trial.overrides, self._board)

    def _hear(self) -> None:
        reports, signs = ray.get(self._board.since.remote(self._seen))
        self._seen += len(reports)
        for number, epoch, values in reports:
            trial = self._running.get(number)
            goes_on = self._source.reported(number, epoch, values)
            if self._source.judges:
                self._board.answer.remote(number, epoch, goes_on)
            if trial is not None:
                trial.epochs = [(e, v) for e, v in trial.epochs if e < epoch] + [(epoch, values)]
                trial.signed_at = time.time()
        for number, at in signs.items():
            if (trial := self._running.get(number)) is not None and trial.task is not None and not trial.epochs:
                trial.started_at = max(at, trial.started_at or 0.0)

    def _take(self, trial: Running) -> None:
        """A process has come to its end, or was lost."""
        try:
            job: JobReturn = ray.get(trial.task)
        except RayTaskError as e:  # before or after the job itself
            return self._end(trial, State.failed, f"{type(e.cause).__name__}: {one_line(e.cause)}")
        except RayError as e:
            return self._lose(trial, lost_by(e))
        error = job._return_value
        if isinstance(error, Pruned):
            return self._end(trial, State.pruned, f"{error}", job)
        if (reason := died(error)) is not None:
            return self._lose(trial, f"of a training worker, {reason}")
        if job.status is JobStatus.FAILED:
            return self._end(trial, State.failed, f"{type(error).__name__}: {one_line(error)}", job)
        return self._end(trial, State.finished, None, job)

    def _overdue(self, trial: Running) -> str | None:
        """Why a trial is given up, if it is."""
        settings, now = self._settings, time.time()
        if trial.started_at is None or trial.signed_at is None:
            return None
        if settings.timeout_s is not None and now - trial.started_at > settings.timeout_s:
            return f"took longer than hydra.launcher.timeout_s={settings.timeout_s:g}"
        if settings.hangs_after_s is not None and now - trial.signed_at > settings.hangs_after_s:
            return f"hung: no epoch for hydra.launcher.hangs_after_s={settings.hangs_after_s:g}"
        return None

    def _lose(self, trial: Running, reason: str) -> None:
        """Tries again, or records the loss."""
        if trial.attempts <= self._settings.retries:
            trial.leave()
            self._place(trial.number, trial.overrides, trial.attempts + 1)
        else:
            self._end(trial, State.lost, reason)

    def _end(self, trial: Running, state: State, reason: str | None, job: JobReturn | None = None) -> None:
        trial.leave()
        del self._running[trial.number]
        started = trial.started_at or time.time()
        record = Record(
            number=trial.number,
            overrides=trial.overrides,
            state=state,
            reason=reason,
            result=jsonable(job._return_value) if state is State.finished and job is not None else None,
            epochs=trial.epochs,
            seconds=time.time() - started,
            waited_s=started - trial.asked_at,
            attempts=trial.attempts,
            started_at=started,
        )
        self._records.add(record)
        self._ended.append(record)
        self._source.ended(record, job)


def died(error: object) -> str | None:
    """How a process was lost, where that is what the error says: its own, or a worker's of Ray Train."""
    if isinstance(error, WorkerGroupError):
        failures = (getattr(failure, "health_check_failure", failure) for failure in error.worker_failures.values())
        return next((reason for failure in failures if (reason := died(failure)) is not None), None)
    return lost_by(error) if isinstance(error, RayError) and not isinstance(error, RayTaskError) else None


def lost_by(error: RayError) -> str:
    """What Ray says of a lost process, in short."""
    told = one_line(error)[:300]
    if isinstance(error, OutOfMemoryError) or "low on memory" in told:
        return f"out of memory: {told}"
    return f"its node is gone: {told}" if isinstance(error, NodeDiedError) else f"its process died: {told}"


def jsonable(value: object) -> object:
    """The value, where JSON has it; else its text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(name): jsonable(of) for name, of in value.items()}
    if isinstance(value, Sequence):
        return [jsonable(of) for of in value]
    return str(value)

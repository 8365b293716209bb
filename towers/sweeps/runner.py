"""Runs the trials of a sweep side by side on a Ray cluster.

Each trial runs in a placement group that holds all its workers, or is not started at all (towers/sweeps/placement.py).
So no trial withholds workers from another, and removing its placement group ends all processes of a trial.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from threading import Event

import ray
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from ray.actor import ActorHandle
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from data.artifacts.errors import one_line
from data.artifacts.secrets import without_passwords
from towers.sweeps.lost_processes import describe_loss, loss_reason
from towers.sweeps.placement import RunningTrial, TrialPlacer
from towers.sweeps.records import Record, Records, State, json_value
from towers.sweeps.reuse.inputs import InputsReader
from towers.sweeps.settings import LauncherConfig
from towers.sweeps.trial import Pruned
from towers.sweeps.trial_process import SweepContext, run_trial
from towers.sweeps.trial_reports import TrialReports
from towers.sweeps.trial_sources import TrialSource

POLL_S, PLACING_POLL_S = 0.1, 0.01
"""Longest time in seconds between two rounds of the runner, and the same while a trial is about to be placed."""

REPORTS_S = 10.0
"""Seconds within which the actor that trials report to says at the end what they have learned from."""

DEFAULT_MAX_CONCURRENT = 64
"""Number of trials that are placed or wait for a place at a time where `hydra.launcher.max_concurrent` is null."""

Observer = Callable[[Sequence[RunningTrial], Sequence[Record], str | None], None]
"""Takes the trials that run or wait, the records of those that have ended, and a line about what is waited for."""


class SweepRunner:
    """Runs the trials of a source until it has no more and all have ended."""

    def __init__(
        self,
        settings: LauncherConfig,
        sweep: SweepContext,
        source: TrialSource,
        inputs: InputsReader,
        records: Records,
        placer: TrialPlacer,
        observe: Observer,
        stop: Event,
    ) -> None:
        """Shares the sweep with the cluster, and starts the actor that trials report to.

        Args:
            settings: how trials are placed, and when they are given up.
            sweep: what all trials share.
            source: gives the trials.
            inputs: finds what a trial is run with.
            records: receives a record of each trial that ends.
            placer: places the trials.
            observe: called in every round.
            stop: interrupts the sweep when it is set.
        """
        self._settings, self._sweep, self._source, self._records = settings, sweep, source, records
        self._inputs = inputs
        self._placer, self._observe, self._stop = placer, observe, stop
        self._shared_sweep = ray.put(sweep)
        reports = ray.remote(num_cpus=0, max_concurrency=10_000)(TrialReports)
        self._reports: ActorHandle = reports.remote(source.prunes, inputs.datasets)
        self._num_reports_read, self._ended = 0, list[Record]()
        self._running: dict[int, RunningTrial] = {}
        self._max_concurrent = settings.max_concurrent or DEFAULT_MAX_CONCURRENT

    def run(self) -> list[Record]:
        """Runs all trials. Returns their records, in the order in which they ended.

        No process of a trial is left, whatever stops the sweep.

        Raises:
            KeyboardInterrupt: the sweep was stopped.
        """
        try:
            while self._fetch_trials() or self._running:
                if self._stop.is_set():
                    raise KeyboardInterrupt
                self._run_round()
                running = list(self._running.values())
                self._observe(running, self._ended, self._placer.waiting_notice(running))
        except KeyboardInterrupt:
            for trial in list(self._running.values()):
                self._end(trial, State.interrupted, "the sweep was stopped")
            raise
        finally:
            for trial in self._running.values():
                trial.release()
            self._placer.close()
            with suppress(RayError):  # of a cluster that is gone
                self._inputs.datasets |= ray.get(self._reports.datasets.remote(), timeout=REPORTS_S)
            ray.kill(self._reports)
            self._observe([], self._ended, None)
        return self._ended

    def _fetch_trials(self) -> bool:
        """Takes trials from the source as long as more may run or wait. Returns False where the source has none."""
        self._source.heartbeat()
        for trial in [t for t in self._running.values() if t.task is None and self._source.withdraw(t.number)]:
            self._running.pop(trial.number).release()
        learns, is_bounded = self._source.learns, self._settings.max_concurrent is not None
        while len(self._running) < self._max_concurrent + (not learns):  # of what is known, one more is prepared
            if learns and not is_bounded and any(trial.task is None for trial in self._running.values()):
                return True
            if (following := self._source.next_trial()) is None:
                return False
            self._queue(*following)
        return True

    def _queue(self, number: int, overrides: list[str], attempts: int = 1) -> None:
        """Adds a trial to those that wait; it fails at once if its config is wrong or it can never be placed."""
        trial = RunningTrial(number=number, overrides=overrides, queued_at=time.time(), attempts=attempts)
        self._running[number] = trial
        try:
            config = trial.config = self._sweep.trial_config(number, overrides)
            trial.inputs = self._inputs.of(config).as_json()  # also of one that is refused below
            trial.worker_bundles, trial.labels = self._sweep.resource_demand(config)
            trial.num_epochs = _num_epochs(config)
            reason = self._placer.infeasible(trial)
        except (ValueError, HydraException, OmegaConfBaseException) as e:
            reason = f"{type(e).__name__}: {one_line(e)}"
        if reason is not None:
            self._end(trial, State.failed, reason)

    def _run_round(self) -> None:
        """Starts trials that are placed, passes on what they report, and ends those that are over or overdue."""
        self._placer.place(list(self._running.values())[: self._max_concurrent])
        for trial in [t for t in self._running.values() if t.task is None and t.is_placed]:
            self._start(trial)
        is_placing = any(t.task is None and t.group is not None for t in self._running.values())
        tasks = {t.task: t for t in self._running.values() if t.task is not None}
        if tasks:
            ray.wait(list(tasks), timeout=PLACING_POLL_S if is_placing else POLL_S)
        else:
            time.sleep(PLACING_POLL_S if is_placing else POLL_S)
        self._read_reports()
        for task in ray.wait(list(tasks), num_returns=len(tasks), timeout=0)[0] if tasks else []:
            self._finish(tasks[task])
        for trial in list(self._running.values()):
            if (reason := trial.overdue(self._settings)) is not None:
                self._retry_or_lose(trial, reason)

    def _start(self, trial: RunningTrial) -> None:
        strategy = PlacementGroupSchedulingStrategy(  # its own process is in the last bundle
            trial.group, len(trial.worker_bundles), placement_group_capture_child_tasks=True
        )
        environment = self._settings.process_runtime_env() or None
        trial.started_at = trial.last_report_at = time.time()
        trial.task = run_trial.options(
            scheduling_strategy=strategy, name=f"trial {trial.number}", runtime_env=environment
        ).remote(self._shared_sweep, trial.number, trial.config, self._reports)

    def _read_reports(self) -> None:
        """Passes new reports of epochs on to the source, and its decisions back to the trials."""
        reports, started_at, alive_at = ray.get(self._reports.since.remote(self._num_reports_read))
        self._num_reports_read += len(reports)
        for number, epoch, values in reports:
            trial = self._running.get(number)
            should_continue = self._goes_on(number, epoch, values)
            if self._source.prunes:
                self._reports.decide.remote(number, epoch, should_continue)
            if trial is not None:
                trial.epochs = [(e, v) for e, v in trial.epochs if e < epoch] + [(epoch, values)]
                trial.last_report_at = time.time()
        for number, at in started_at.items():
            if (trial := self._running.get(number)) is not None and trial.task is not None and not trial.epochs:
                trial.started_at = max(at, trial.started_at or 0.0)
        for number, at in alive_at.items():
            if (trial := self._running.get(number)) is not None and trial.last_report_at is not None:
                trial.last_report_at = max(at, trial.last_report_at)

    def _goes_on(self, number: int, epoch: int, values: Mapping[str, float]) -> bool:
        """Whether a trial should continue. After its last epoch it is over anyway, and the source is not asked.

        Halving would compare trials that go on at this epoch, with a learning rate that has still to fall, with it.
        """
        trial = self._running.get(number)
        is_last = trial is not None and epoch == trial.num_epochs
        return is_last or self._source.should_continue(number, epoch, values)

    def _finish(self, trial: RunningTrial) -> None:
        """Ends a trial whose process has returned or was lost."""
        try:
            job: JobReturn = ray.get(trial.task)
        except RayTaskError as e:  # raised before or after the job itself
            return self._end(trial, State.failed, f"{type(e.cause).__name__}: {one_line(e.cause)}")
        except RayError as e:
            return self._retry_or_lose(trial, describe_loss(e))
        error = job._return_value
        if isinstance(error, Pruned):
            return self._end(trial, State.pruned, f"{error}", job)
        if (reason := loss_reason(error)) is not None:
            return self._retry_or_lose(trial, f"a training worker was lost, {reason}")
        if job.status is JobStatus.FAILED:
            return self._end(trial, State.failed, f"{type(error).__name__}: {one_line(error)}", job)
        return self._end(trial, State.finished, None, job)

    def _retry_or_lose(self, trial: RunningTrial, reason: str) -> None:
        """Queues a lost trial again while it has retries left; otherwise ends it as lost."""
        if trial.attempts <= self._settings.retries:
            trial.release()
            self._queue(trial.number, trial.overrides, trial.attempts + 1)
        else:
            self._end(trial, State.lost, reason)

    def _end(self, trial: RunningTrial, state: State, reason: str | None, job: JobReturn | None = None) -> None:
        trial.release()
        del self._running[trial.number]
        started_at = trial.started_at or time.time()
        record = Record(
            number=trial.number,
            overrides=trial.overrides,
            state=state,
            reason=reason and without_passwords(reason, trial.overrides),
            result=json_value(job._return_value) if state is State.finished and job is not None else None,
            epochs=trial.epochs,
            seconds=time.time() - started_at,
            waited_s=started_at - trial.queued_at,
            attempts=trial.attempts,
            started_at=started_at,
            inputs=trial.inputs,
        )
        if state is State.finished and (objection := self._source.objection(record)) is not None:
            record = replace(record, state=State.failed, reason=objection)
        self._records.add(record)
        self._ended.append(record)
        self._source.trial_ended(record, job)


def _num_epochs(config: DictConfig) -> int | None:
    """The most epochs that a trial runs; None where its config does not say."""
    found: int | None = OmegaConf.select(config, "train.stop_after") or OmegaConf.select(config, "train.epochs")
    return found

"""The canary guard: analyses a running experiment every few seconds, and rolls it back if a variant is worse.

Beside an endpoint it runs as the application `guard` (serve/deployment/application.py); `python -m serve.guard` watches
an endpoint on another machine.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from data.artifacts.errors import one_line
from data.artifacts.folders import Folder
from data.artifacts.leases import LeaseLost, Step, unwatched
from data.cluster.console import ProgressReporter
from serve.events.exposures import ExposureCompaction
from serve.experiments.assignment import Experiment
from serve.experiments.canary_analysis import GuardConfig, find_regressions
from serve.experiments.exposure_files import ExposureRun, read_earlier_layout
from serve.experiments.judged_answers import JudgedRun
from serve.releases.pointer import LivePointer, PointerError, utc_timestamp
from serve.releases.registry import ReleaseRegistry
from serve.rollout.heartbeats import ReplicaRegistry
from serve.rollout.replica_watch import ReplicaWatch
from serve.rollout.two_phase import ROLLBACK_WAIT_S, roll_back

MAX_READ = 5_000_000
"""A guard that begins to watch a run reads about so many of its latest exposures at most, within a minute."""

MAX_NAMED = 5
"""The reason of a rollback names this many of the replicas that have died."""

READ_AGAIN = 2
"""The latest hours of a run, to which replicas may still write; earlier hours are read once."""

BY_GUARD = "guard: "
"""How the reason of a rollback by a guard begins."""


@dataclass(slots=True)
class CanaryGuard:
    """Watches the experiment that runs under a storage root, and keeps the exposures that it has read in memory.

    It also compacts the files of all runs hour by hour, so that their number stays small.

    Attributes:
        config: the bounds, and the time between two checks.
        storage: the storage root.
        progress: where messages go.
        report: takes `num_rollbacks`, after every check.
        num_rollbacks: how many rollbacks by guards it has seen since it was made: its own, and those of others, such
            as of a lap or of `serve.guard`.
    """

    config: GuardConfig
    storage: Folder
    progress: ProgressReporter = print
    report: Callable[[int], None] = lambda _: None
    num_rollbacks: int = 0
    _began: str = field(default_factory=utc_timestamp)
    _counted: tuple[str | None, str | None] = (None, None)
    _experiment_key: str | None = None
    _files_read: set[str] = field(default_factory=set)
    _judged: JudgedRun = field(default_factory=JudgedRun)
    _compaction: ExposureCompaction = field(init=False)
    _step: Step = unwatched
    _replicas: ReplicaWatch | None = None

    def __post_init__(self) -> None:
        self._compaction = ExposureCompaction(self.storage)

    def check(self) -> str | None:
        """Analyses the running experiment once; returns the reason if it was rolled back, otherwise None."""
        registry = ReleaseRegistry.of(self.storage)
        live = registry.live()
        self._count(live)
        if live is None or live.experiment is None:
            self._begin(None)
            self._compact()
            return None
        self._read_new(live.experiment)
        regressions = self._deaths(registry, live.experiment)
        for answers in self._judged.of.values():
            regressions += find_regressions(self.config, answers.exposures)
        if not regressions:
            self._compact()
            return None
        reason = f"{BY_GUARD}{'; '.join(regressions)}"
        try:
            roll_back(registry, ROLLBACK_WAIT_S, reason, of=live.experiment)
        except PointerError as e:
            self.progress(f"{reason}. Nothing is rolled back: {e}")
            return None
        self.num_rollbacks += 1
        self._counted = ", ".join(live.others), reason
        self.progress(f"{reason}. {', '.join(live.others)} rolled back; {live.release} answers all")
        return reason

    def _count(self, live: LivePointer | None) -> None:
        """Counts the rollback that the pointer tells of, if a guard has done it since this one began.

        One that is followed by another change before this guard looks again is not seen.
        """
        if live is None or not (live.reason or "").startswith(BY_GUARD):
            self._counted = None, None
        elif (rollback := (live.rolled_back, live.reason)) != self._counted:
            self._counted = rollback
            self.num_rollbacks += live.change is not None and live.change.at >= self._began

    def _deaths(self, registry: ReleaseRegistry, experiment: Experiment) -> list[str]:
        """Names the replicas that have died while they took part in the experiment, where they are too many.

        Those whose machine went with them do not count, nor those who died long ago. Where heartbeats cannot be read,
        none counts as dead, and the exposures alone are judged.
        """
        if self._replicas is None:
            self._replicas = ReplicaWatch(ReplicaRegistry.of(registry.folder), renews_clock=True)
        within_s = self.config.deaths_within_s
        try:
            dead = [each for each in self._replicas.look().outlived(within_s) if each.experiment == experiment.key]
        except (OSError, ValueError, TypeError) as e:
            self.progress(f"guard: whether replicas have died is not judged: {one_line(e)}")
            self._replicas.forget()  # who could not write meanwhile must not count as dead
            return []
        if len(dead) <= self.config.max_deaths:
            return []
        named = ", ".join(str(heartbeat) for heartbeat in dead[:MAX_NAMED])
        more, within_h = ", ..." * (len(dead) > MAX_NAMED), within_s / 3600
        return [f"{len(dead)} replicas have died in the experiment within {within_h:.3g} h ({named}{more})"]

    def watch(self, stopped: Callable[[float], bool]) -> None:
        """Checks again and again until stopped.

        Args:
            stopped: waits for the given number of seconds and returns whether to stop (as `threading.Event.wait` does).
        """
        self._step = partial(stopped, 0)
        while not stopped(self.config.every_s):
            try:
                self.check()
                self.report(self.num_rollbacks)
            except Exception as e:
                # Broad on purpose: whatever keeps the guard from judging (no connection, a file that is damaged), it
                # must not stop watching.
                self.progress(f"guard: {one_line(e)}; checking again in {self.config.every_s:g} s")
                if self._replicas is not None:
                    self._replicas.forget()  # who could not write meanwhile must not count as dead

    def _read_new(self, experiment: Experiment) -> None:
        """Reads exposures of the running experiment that were written since the last check.

        The first time it reads from the latest hour back, as far as the analysis needs.
        """
        run = ExposureRun.of(self.storage, experiment).rows
        hours, is_first = run.hours()[::-1], self._experiment_key != experiment.key
        if is_first:
            self._begin(None)  # until all of it is read: where the storage fails meanwhile, the next check begins anew
            earlier = read_earlier_layout(self.storage, experiment.name, experiment.since)
            self._say(earlier.damaged)
            self._judged = JudgedRun.begun(experiment.shares).with_groups([earlier.table])
        before = self._judged
        for hour in hours[: None if is_first else READ_AGAIN]:
            if hour not in hours[:READ_AGAIN] and (
                self._judged.is_full or sum(self._judged.num_read.values()) > MAX_READ
            ):
                break
            read = run.fold_hour(hour, self._judged, JudgedRun.with_groups, frozenset(self._files_read))
            self._say(read.damaged)
            self._judged, self._files_read = read.value, self._files_read | {*read.files, run.compacted(hour)}
            if is_first and self._judged.is_full:  # unless a few users had most of the answers
                self._judged = self._judged.cut()
        if is_first or self._judged is not before:
            self._judged = self._judged.cut()
        self._files_read = {file for file in self._files_read if file.startswith(tuple(hours[:READ_AGAIN]))}
        self._experiment_key = experiment.key

    def _begin(self, experiment_key: str | None) -> None:
        """Forgets what was read of another run; None: no run is watched."""
        self._experiment_key, self._files_read, self._judged = experiment_key, set(), JudgedRun()

    def _compact(self) -> None:
        """Compacts the files of all runs, once an hour; what is wrong with one of them keeps nobody from judging.

        The compaction of events does so too, where it runs.
        """
        try:
            self._compaction.go_on(self._step)
        except (OSError, ValueError, LeaseLost) as e:  # the storage, a compacted file that is damaged, or a long stop
            self._compaction.rest()
            self.progress(f"guard: exposures are not compacted, tried again in the next hour: {one_line(e)}")

    def _say(self, damaged: tuple[str, ...]) -> None:
        for sentence in damaged:
            self.progress(f"guard: {sentence}")

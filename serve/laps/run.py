"""One lap, step by step: prepare, drift, gate, train, publish, trial, promote. Each step is recorded once done."""

import hashlib
from dataclasses import replace
from typing import Any, Protocol

from data.artifacts.errors import UserError, one_line
from data.artifacts.folders import Folder
from data.artifacts.json_text import json_text
from data.artifacts.leases import Lock
from data.artifacts.seals import is_sealed, named_in
from data.artifacts.structured import jsonable
from data.cluster.console import ProgressReporter, show
from data.dataset.preparation import prepare
from data.dataset.prepared import PreparedDataset
from serve.experiments.canary_analysis import GuardConfig
from serve.index.config import IndexConfig
from serve.laps.clearing import MADE
from serve.laps.config import CycleConfig, LapStart, LapStopped
from serve.laps.drift import is_counted, measure_drift, num_positives
from serve.laps.event_log_age import age_of_events
from serve.laps.gate import LapGate
from serve.laps.record import LapRecord, may_go_on
from serve.laps.trial import end_trial, promote_tried, refuse_ended, try_release
from serve.releases.audit.history import record as add_to_history
from serve.releases.gate.config import GateConfig
from serve.releases.gate.gate import Gatekeeper
from serve.releases.publish import publish
from serve.releases.registry import ReleaseRegistry
from towers.checkpoint.checkpoint import open_checkpoint
from towers.model.config import FittedSplits
from towers.training.config import Recipe
from towers.training.fit import made_by, train, with_fit_on
from towers.training.stages.measured_fit import has_validation

LOCK = ".lap"

NOTHING_NEW = "nothing new"
"""The outcome of a lap with too few new events to learn from."""


class LapConfig(Recipe, Protocol):
    """The sections of the root config that a lap needs."""

    @property
    def index(self) -> IndexConfig: ...
    @property
    def gate(self) -> GateConfig: ...
    @property
    def guard(self) -> GuardConfig: ...
    @property
    def cycle(self) -> CycleConfig: ...


def run_lap(config: LapConfig, storage: Folder, within_s: float, progress: ProgressReporter = print) -> dict[str, Any]:
    """Runs a lap, or goes on with the one that was interrupted; returns its record as JSON values. Needs a Ray session.

    A lap without enough new events ends with the outcome `nothing new`, a complete one with `promoted`. One that an
    error interrupts that may pass goes on with the next command; one whose error would come again has stopped.

    Args:
        within_s: seconds that the replicas may take to load the release.

    Raises:
        LapStopped: drift, the gate, the trial or an error that would come again has stopped the lap. The record says
            so; the live release stays, and a trial of the lap is over.
        IndexUnavailable, NeedsApproval, OSError: the lap is interrupted.
        LeaseLost: on an object store, this process was stopped, and another one goes on with the lap.
    """
    with (storage / "laps").locked(LOCK) as lock:
        record = _opened(config, storage, lock, progress)
        try:
            outcome = _Lap(config, storage, record, within_s, progress).run()
        except Exception as e:
            if may_go_on(e):
                progress(
                    f"cycle: lap {record.folder.name} is interrupted; the same command goes on with it, and with"
                    " cycle.resume=false gives it up and begins another one"
                )
                raise
            _end(record, storage, "stopped", one_line(e))
            if not isinstance(e, UserError):
                raise
            raise LapStopped(f"lap {record.folder.name} stopped, what was live stays: {e}") from e
        return _end(record, storage, outcome)


def _opened(config: LapConfig, storage: Folder, lock: Lock, progress: ProgressReporter) -> LapRecord:
    """The lap that was interrupted, or a new one; says which, and why an interrupted one is given up."""
    digest, last = _digest(config), LapRecord.unfinished(storage, lock)
    if last is not None and (why := last.why_given_up(digest, config.cycle.resume)) is not None:
        progress(f"cycle: the lap of {last.began} is given up, because {why}")
        _end(last, storage, "given up", why)
    record = LapRecord.open(storage, digest, lock)
    if record.steps:
        progress(f"cycle: going on with the lap of {record.began}, after {', '.join(record.steps)}")
    return record


def _end(record: LapRecord, storage: Folder, outcome: str, reason: str | None = None) -> dict[str, Any]:
    """Ends a lap; returns its record as JSON values. The history has it, unless there was nothing to do.

    Args:
        reason: why it ends without a new live release, and its trial with it: the next lap could begin none beside it.
    """
    registry = ReleaseRegistry.of(storage)
    if reason is not None:
        end_trial(record, registry, f"lap {record.folder.name} {outcome}: {reason}")
    ended = record.end(outcome, reason)
    if outcome != NOTHING_NEW:
        why = {} if reason is None else {"reason": reason}
        add_to_history(registry.folder, action="lap", lap=record.folder.name, outcome=outcome, **why)
    return ended


class _Lap:
    def __init__(
        self, config: LapConfig, storage: Folder, record: LapRecord, within_s: float, progress: ProgressReporter
    ) -> None:
        self._config, self._storage, self._record = config, storage, record
        self._within_s, self._progress = within_s, progress
        self._registry = ReleaseRegistry.of(storage)
        gatekeeper = Gatekeeper(config=config.gate, evaluate=config.evaluate, show=show)
        self._gatekeeper = LapGate(config.cycle, gatekeeper, self._registry, record, progress)

    def run(self) -> str:
        """Runs the steps that are not done; returns how the lap ends."""
        step = self._record.step
        dataset = self._dataset()
        if (age := age_of_events(self._config.data.source)) is not None:
            self._progress(f"cycle: {age}")
        drift = step("drift", lambda: self._drift(dataset))
        num_new = num_positives(dataset) if drift is None else drift["num_new"]
        if num_new < self._config.cycle.min_events:
            self._progress(f"cycle: {num_new} new positives; cycle.min_events is {self._config.cycle.min_events}")
            return NOTHING_NEW
        if drift is not None and drift["beyond"]:
            raise LapStopped(f"drift: {'; '.join(drift['beyond'])}; raise cycle.max_... if that is meant")
        step("items", lambda: self._items(dataset))
        recipe = self._recipe(step("start", self._start))
        step(MADE, lambda: [str(folder) for folder in made_by(recipe, dataset, self._storage)])
        step("gate", lambda: self._gate(recipe, dataset))
        checkpoint = step("train", lambda: str(train(recipe, dataset, self._storage, self._progress).folder))
        release_id = step("release", lambda: self._publish(checkpoint))
        _require_there("release", self._registry.path(release_id))
        step("trial", lambda: self._try(release_id))
        step("promotion", lambda: self._promote(release_id))
        return "promoted"

    def _dataset(self) -> PreparedDataset:
        """The lap's dataset; it stays the same when the lap goes on, whatever events have come meanwhile."""
        folder = named_in(self._storage, self._record.step("dataset", self._prepare))
        _require_there("dataset", folder)
        return PreparedDataset.open(folder)

    def _prepare(self) -> str:
        return str(prepare(self._config.data, self._storage, self._progress).folder)

    def _drift(self, dataset: PreparedDataset) -> dict[str, Any] | None:
        live = self._registry.live()
        if live is None:
            return None
        before = self._registry.open_served(live.release).parts
        if not is_counted(before):
            self._progress(f"cycle: drift is not measured, because {live.release} lacks the counts of its test part")
            return None
        drift = measure_drift(before, dataset)
        self._progress(f"cycle: {drift}")
        return drift.as_json() | {"beyond": drift.beyond(self._config.cycle)}

    def _items(self, dataset: PreparedDataset) -> dict[str, Any] | None:
        """Says which items of the live release the dataset lacks, before anything is trained on it."""
        if (live := self._registry.live()) is None:
            return None
        lost = self._gatekeeper.check_items(dataset.items, live)
        if lost:
            self._progress(f"cycle: {lost}")
        return lost.as_json()

    def _start(self) -> str | None:
        """The folder of the checkpoint whose weights training starts with; None where it starts fresh."""
        live = self._registry.live()
        if self._config.cycle.start is LapStart.anew or live is None:
            return None
        folder = self._storage / "checkpoints" / self._registry.manifest(live.release)["checkpoint"]
        if is_sealed(folder):
            return str(folder)
        self._progress(f"cycle: training starts anew, because the checkpoint {folder} of {live.release} is gone")
        return None

    def _recipe(self, start: str | None) -> Any:
        """The config with what its training starts from; a lap that starts anew leaves that as it is."""
        if start is None or "train" in self._record.steps:
            return self._config
        _require_there("first checkpoint", named_in(self._storage, start))
        root: Any = self._config  # a dataclass, as the root configuration is
        return replace(root, train=replace(root.train, start_from=start))

    def _gate(self, config: Any, dataset: PreparedDataset) -> dict[str, Any]:
        """Trains on the events and checks the model against later ones; skipped for a final fit.

        A final fit has no later events, so the run with `train.fit_on=train` is checked instead.
        """
        if config.train.fit_on is FittedSplits.all and has_validation(config, dataset):
            config = with_fit_on(config, FittedSplits.train)
        measured = train(config, dataset, self._storage, self._progress)
        report = self._gatekeeper.check_report(measured.manifest, self._registry.live())
        return {"checkpoint": str(measured.folder)} | report

    def _publish(self, checkpoint: str) -> str:
        folder = named_in(self._storage, checkpoint)
        _require_there("checkpoint", folder)
        return publish(self._config.index, open_checkpoint(folder), self._storage, self._progress, self._gatekeeper)

    def _try(self, release_id: str) -> dict[str, Any]:
        config = self._config
        self._require_compared(release_id)
        where = config.cycle, config.guard, config.index, self._storage
        tried = try_release(*where, release_id, self._within_s, self._progress, record=self._record)
        if not tried["tried"]:
            self._progress(f"cycle: no trial, because {tried['why']}")
        return tried

    def _promote(self, release_id: str) -> dict[str, Any]:
        self._require_compared(release_id)
        return promote_tried(
            self._record, self._config.index, self._registry, release_id, self._within_s, self._progress
        )

    def _require_compared(self, release_id: str) -> None:
        """Before a release gets traffic: its trial was not ended, and it has passed the gate beside what is live."""
        if (live := self._registry.live()) is not None and live.release != release_id:
            refuse_ended(self._record, self._registry, live)
            self._gatekeeper.judge_again(release_id)


def _require_there(what: str, folder: Folder) -> None:
    """Stops a lap that was interrupted, and of which somebody has removed something since: it could never go on."""
    if not is_sealed(folder):
        raise LapStopped(f"its {what} {folder} is not there any more; start the next lap")


def _digest(config: LapConfig) -> str:
    """Digest of the values that decide a lap. Whether one goes on that was interrupted decides none."""
    names = ("data", "model", "loss", "train", "rerank", "evaluate", "gate", "cycle")
    values = {name: jsonable(getattr(config, name)) for name in names} | {"seed": config.seed}
    del values["cycle"]["resume"]
    return hashlib.sha256(json_text(values, sort_keys=True).encode()).hexdigest()[:16]

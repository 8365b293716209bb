"""The trial of a lap's release as a canary, which the guard may end, and the promotion after it."""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

from data.artifacts.folders import Folder
from data.cluster.console import ProgressReporter
from serve.experiments.assignment import Experiment
from serve.experiments.canary_analysis import MIN_USERS, GuardConfig, can_be_judged
from serve.experiments.exposure_files import ExposureRun
from serve.experiments.judged_answers import JudgedRun
from serve.index.config import IndexConfig
from serve.laps.config import CycleConfig, LapStopped
from serve.laps.record import LapRecord
from serve.releases.audit.history import has_run, rolled_back_because
from serve.releases.pointer import LivePointer, PointerError, Traffic, utc_timestamp
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import ReleaseError
from serve.rollout.guard import CanaryGuard
from serve.rollout.heartbeats import ReplicaRegistry
from serve.rollout.promotion import canary, describe, promote

CANARY = "canary"
"""The step at which a lap notes the experiment of its trial."""


def try_release(
    config: CycleConfig,
    guard: GuardConfig,
    index: IndexConfig,
    storage: Folder,
    release_id: str,
    within_s: float,
    progress: ProgressReporter = print,
    wait: Callable[[float], object] = time.sleep,
    record: LapRecord | None = None,
) -> dict[str, Any]:
    """Gives a release a share of the users for a while; an interrupted trial resumes.

    Args:
        record: the record of the lap, which notes the trial before it begins. With it, a trial that was ended while the
            lap was interrupted does not begin again.

    Returns:
        What became of it, as JSON values: whether it took place, and how many of its answers were judged.

    Raises:
        LapStopped: the guard, or an operator, has ended the trial or an earlier one, or another experiment runs.
        ReleaseError, PointerError, IndexUnavailable: as `promote`.
    """
    registry = ReleaseRegistry.of(storage)
    live = registry.live()
    if live is None or not config.canary_percent:
        return {"tried": False, "why": "no release was live" if live is None else "cycle.canary_percent is 0"}
    if live.release == release_id:
        return {"tried": False, "why": f"{release_id} is live already"}
    refuse_ended(record, registry, live)
    refuse_rolled_back(registry, live, release_id)
    replicas = ReplicaRegistry.of(registry.folder)
    if not replicas.alive(replicas.clock()):
        return {"tried": False, "why": "no endpoint is running"}
    if live.experiment is not None and live.others != [release_id]:
        raise LapStopped(
            f"experiment {live.experiment.name} runs; end it by serve.promote, serve.rollback or serve.split, and start"
            " the lap again"
        )
    if live.experiment is None:
        began = canary(release_id, config.canary_percent, utc_timestamp())
        _note(record, began)
        percent, since, alone = config.canary_percent, began.since, Traffic.of(live)
        live = promote(index, registry, release_id, within_s, progress, percent, alone, since=since).live
    assert live.experiment is not None, "the pointer names the canary"
    _note(record, live.experiment)
    progress(f"cycle: {release_id} answers a part of the users for {config.canary_s:g} s")
    _wait_until_judged(config, CanaryGuard(guard, storage, progress), registry, live.experiment, wait)
    return _judged(guard, ExposureRun.of(storage, live.experiment), release_id, progress)


def _judged(guard: GuardConfig, run: ExposureRun, release_id: str, progress: ProgressReporter) -> dict[str, Any]:
    shown = run.rows.fold(JudgedRun.begun([release_id]), JudgedRun.with_groups).value
    num_answers = shown.num_read.get(release_id, 0)
    is_judged = can_be_judged(guard, shown.cut().of[release_id].exposures, release_id)
    if not is_judged:
        progress(
            f"cycle: {release_id} gave {num_answers} answers: too few to judge it by. It takes {guard.min_requests}"
            f" (guard.min_requests) to {MIN_USERS} users, and as many of the live release"
        )
    return {"tried": True, "answers": num_answers, "judged": is_judged}


def promote_tried(
    record: LapRecord,
    index: IndexConfig,
    registry: ReleaseRegistry,
    release_id: str,
    within_s: float,
    progress: ProgressReporter = print,
) -> dict[str, Any]:
    """Gives a release all of the traffic, if its trial still runs when the pointer moves, or if there was none.

    Args:
        record: the record of the lap, which has noted the trial.

    Returns:
        What became of it, as JSON values. Where an operator has promoted the release, it is live already.

    Raises:
        LapStopped: the guard, or an operator, has ended the trial or an earlier one of the same release.
        ReleaseError, PointerError, IndexUnavailable: as `promote`.
    """
    if (found := _live_already(registry, release_id, progress)) is not None:
        return found
    live = registry.live()
    refuse_ended(record, registry, live)
    refuse_rolled_back(registry, live, release_id)
    try:
        rollout = promote(index, registry, release_id, within_s, progress, expected_live=Traffic.of(live))
    except ReleaseError:  # the traffic may have changed while the release was verified and loaded
        if (found := _live_already(registry, release_id, progress)) is not None:
            return found
        refuse_ended(record, registry, registry.live())
        raise
    progress(f"cycle: {release_id} is live; {describe(rollout)}")
    return {"release": release_id, "previous": rollout.live.previous, "replicas": rollout.replicas}


def _live_already(registry: ReleaseRegistry, release_id: str, progress: ProgressReporter) -> dict[str, Any] | None:
    """What to record where the release is live; None where it is not."""
    live = registry.live()
    if live is None or live.release != release_id:
        return None
    progress(f"cycle: {release_id} is live already")
    return {"release": release_id, "previous": live.previous, "replicas": 0}


def _note(record: LapRecord | None, experiment: Experiment) -> None:
    if record is not None:
        record.note(CANARY, {"name": experiment.name, "since": experiment.since})


def refuse_ended(record: LapRecord | None, registry: ReleaseRegistry, live: LivePointer | None) -> None:
    """Raises LapStopped where the trial that a lap has begun does not run any more.

    A trial that the lap has noted, and whose rollout was interrupted before it had traffic, is none that was ended.
    """
    noted = None if record is None else record.steps.get(CANARY)
    if noted is None or live is None or (live.experiment is not None and live.experiment.since == noted["since"]):
        return
    if has_run(registry.folder, **noted):
        raise LapStopped(f"the trial was ended: {_said(live)}")


def refuse_rolled_back(registry: ReleaseRegistry, live: LivePointer | None, release_id: str) -> None:
    """Raises LapStopped where a rollback has taken a release out of service: no lap gives it traffic again by itself.

    The same data makes the same release, so that a lap which is run again at once would come up with it.
    """
    if live is not None and release_id in (live.rolled_back or "").split(", "):
        why: str | None = live.reason or "without a reason"
    else:
        why = rolled_back_because(registry.folder, release_id, registry.manifest(release_id)["created_at"])
    if why is not None:
        raise LapStopped(
            f"{release_id} was rolled back ({why}) and gets no second trial. New events make another release, and"
            f" python -m serve.promote release={release_id} promotes this one all the same"
        )


def end_trial(record: LapRecord, registry: ReleaseRegistry, reason: str) -> None:
    """Ends the trial of a lap, if it runs; the live release then has all of the traffic.

    Args:
        record: the record of the lap, which has noted the trial.
        reason: goes into the pointer and the history.
    """
    noted, live = record.steps.get(CANARY), registry.live()
    running = None if live is None else live.experiment
    if noted is None or running is None or (running.name, running.since) != (noted["name"], noted["since"]):
        return
    with suppress(PointerError):  # somebody else has ended it meanwhile
        registry.rollback(reason, running)


def _said(live: LivePointer | None) -> str:
    return (live.reason if live is not None else None) or "somebody has changed the live pointer"


def _wait_until_judged(
    config: CycleConfig,
    guard: CanaryGuard,
    registry: ReleaseRegistry,
    experiment: Experiment,
    wait: Callable[[float], object],
) -> None:
    """Waits until the trial has lasted long enough, or its release is live; raises LapStopped where it ends before."""
    ends = datetime.fromisoformat(experiment.since).timestamp() + config.canary_s
    while True:
        reason = guard.check()
        live = registry.live()
        if live is not None and live.release in experiment.shares:  # an operator has promoted it
            return
        if reason is not None or live is None or live.experiment is None or live.experiment.key != experiment.key:
            raise LapStopped(f"the trial was ended: {reason or _said(live)}")
        if (left_s := ends - time.time()) <= 0:
            return
        wait(min(config.look_s, left_s))

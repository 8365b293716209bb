"""The trial of a release: left out where nobody answers, ended by the guard, or good for promotion."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conf.schema import load
from data.artifacts.folders import MANIFEST, Folder
from serve.experiments.assignment import CONTROL, Experiment
from serve.experiments.canary_analysis import GuardConfig
from serve.experiments.exposure_files import ExposureRun
from serve.laps.config import CycleConfig, LapStopped
from serve.laps.record import LapRecord
from serve.laps.trial import promote_tried, refuse_ended, try_release
from serve.releases.pointer import utc_timestamp, with_experiment
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import ReleaseError
from serve.rollout.heartbeats import REPLICAS, Heartbeat, ReplicaRegistry
from tests.serve.rollout.test_guard import shown

CONFIG = CycleConfig(canary_s=0.2, look_s=0.05)
INDEX = load([]).index


@pytest.fixture
def storage(tmp_path: Path) -> Folder:
    for name in ("old", "new", "other"):
        folder = tmp_path / "releases" / name
        folder.mkdir(parents=True)
        (folder / MANIFEST).write_text(json.dumps({"kind": "release", "created_at": "2026-01-01"}))
    storage = Folder.of(str(tmp_path))
    ReleaseRegistry.of(storage).promote("old")
    return storage


def trial(storage: Folder, *exposures: Any) -> Experiment:
    """The canary `new` runs, a replica answers, and these exposures are recorded."""
    registry = ReleaseRegistry.of(storage)
    since = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    experiment = Experiment("canary-new", {"new": 0.05}, since)
    live = registry.update_pointer(lambda live: with_experiment(live, experiment))  # type: ignore[arg-type]
    heartbeat = Heartbeat(replica="r", current="old", holds={"old": 1.0, "new": 1.0})
    ReplicaRegistry.of(registry.folder).write(heartbeat)
    assert live.experiment is not None
    for number, table in enumerate(exposures):
        ExposureRun.of(storage, live.experiment).write(live.experiment, f"r-{number}", table)
    return live.experiment


def tried(storage: Folder, config: CycleConfig = CONFIG) -> dict[str, Any]:
    return try_release(config, GuardConfig(), INDEX, storage, "new", 1.0, progress=lambda _: None)


def test_no_trial_where_nobody_answers(storage: Folder) -> None:
    assert tried(storage) == {"tried": False, "why": "no endpoint is running"}
    assert tried(storage, CycleConfig(canary_percent=0))["why"] == "cycle.canary_percent is 0"


def test_a_trial_that_goes_on_and_is_as_good(storage: Folder) -> None:
    trial(storage, shown(CONTROL, 2000), shown("new", 400))
    assert tried(storage) == {"tried": True, "answers": 400, "judged": True}


def test_too_few_answers_are_said(storage: Folder) -> None:
    trial(storage, shown("new", 7))
    assert tried(storage) == {"tried": True, "answers": 7, "judged": False}


def test_too_few_answers_of_the_live_release_are_said(storage: Folder) -> None:
    trial(storage, shown(CONTROL, 7), shown("new", 400))
    assert tried(storage) == {"tried": True, "answers": 400, "judged": False}


def test_the_guard_ends_a_bad_trial(storage: Folder) -> None:
    trial(storage, shown(CONTROL, 2000), shown("new", 400, failed=40))
    with pytest.raises(LapStopped, match="the trial was ended: guard: new: 10.0% of its answers failed"):
        tried(storage)
    live = ReleaseRegistry.of(storage).live()
    assert live is not None
    assert (live.release, live.experiment) == ("old", None)


@pytest.fixture
def record(storage: Folder) -> LapRecord:
    return LapRecord.open(storage, "values")


def interrupted(storage: Folder, record: LapRecord) -> None:
    """The trial runs when the lap dies."""

    def dies(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        try_release(CycleConfig(), GuardConfig(), INDEX, storage, "new", 1.0, print, dies, record)


def resumed(storage: Folder, config: CycleConfig = CONFIG) -> dict[str, Any]:
    record = LapRecord.open(storage, "values")
    return try_release(config, GuardConfig(), INDEX, storage, "new", 1.0, print, time.sleep, record)


def test_a_trial_that_was_ended_while_the_lap_was_interrupted_stays_ended(storage: Folder, record: LapRecord) -> None:
    experiment = trial(storage, shown("new", 7))
    interrupted(storage, record)
    assert resumed(storage)["answers"] == 7, "where it still runs, it goes on"
    registry = ReleaseRegistry.of(storage)
    registry.rollback("guard: too many failures", experiment)
    for ended in (resumed, lambda of: refuse_ended(LapRecord.open(of, "values"), registry, registry.live())):
        with pytest.raises(LapStopped, match="the trial was ended: guard: too many failures"):
            ended(storage)
    live = registry.live()
    assert live is not None
    assert (live.release, live.experiment) == ("old", None)


def test_a_release_that_an_operator_has_promoted_meanwhile_is_not_tried(storage: Folder, record: LapRecord) -> None:
    trial(storage)
    interrupted(storage, record)
    ReleaseRegistry.of(storage).promote("new")
    assert resumed(storage) == {"tried": False, "why": "new is live already"}


def test_a_release_that_an_operator_promotes_during_its_trial_has_passed(storage: Folder) -> None:
    trial(storage)

    def promotes(_: float) -> None:
        ReleaseRegistry.of(storage).promote("new")

    tried = try_release(CycleConfig(), GuardConfig(), INDEX, storage, "new", 1.0, print, promotes)
    assert tried == {"tried": True, "answers": 0, "judged": False}


def test_a_trial_that_was_noted_and_never_had_traffic_begins(
    storage: Folder, record: LapRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial(storage)
    registry, found = ReleaseRegistry.of(storage), list[str]()
    registry.promote("old")  # ends an earlier trial of the same release

    def rolled_out(*_: Any, since: str) -> Any:
        found.append(since)
        if len(found) == 1:
            raise KeyboardInterrupt
        experiment = Experiment("canary-new", {"new": 0.05}, since)
        live = registry.update_pointer(lambda live: with_experiment(live, experiment))  # type: ignore[arg-type]
        return SimpleNamespace(live=live)

    monkeypatch.setattr("serve.laps.trial.promote", rolled_out)  # it would look for the collections of both releases
    with pytest.raises(KeyboardInterrupt):
        resumed(storage)
    assert resumed(storage)["tried"]
    assert LapRecord.open(storage, "values").steps["canary"] == {"name": "canary-new", "since": found[1]}


def test_an_experiment_of_somebody_else_is_left_alone(storage: Folder) -> None:
    running = trial(storage)
    with pytest.raises(LapStopped, match="experiment canary-new runs; end it"):
        try_release(CONFIG, GuardConfig(), INDEX, storage, "other", 1.0)
    assert ReleaseRegistry.of(storage).live().experiment == running  # type: ignore[union-attr]


def verifying(monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], object]) -> None:
    """Has somebody else do something while a release is verified, which here has no collection to look at."""
    monkeypatch.setattr("serve.rollout.promotion._verify", lambda *_: meanwhile())


@pytest.mark.parametrize("ended", ["by the guard", "by a promotion", "by another experiment"])
def test_a_trial_that_is_ended_while_its_release_is_verified_is_not_promoted(
    storage: Folder, record: LapRecord, ended: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment, registry = trial(storage, shown("new", 7)), ReleaseRegistry.of(storage)
    interrupted(storage, record)
    another = Experiment("another", {"new": 0.5}, utc_timestamp())
    endings = {
        "by the guard": lambda: registry.rollback("guard: too slow", experiment),
        "by a promotion": lambda: registry.promote("other"),
        "by another experiment": lambda: registry.update_pointer(lambda live: with_experiment(live, another)),
    }
    found: list[Any] = []
    verifying(monkeypatch, lambda: found.append(endings[ended]()))
    said = "guard: too slow" if ended == "by the guard" else "somebody has changed the live pointer"
    with pytest.raises(LapStopped, match=f"the trial was ended: {said}"):
        promote_tried(LapRecord.open(storage, "values"), INDEX, registry, "new", 1.0, lambda _: None)
    assert [registry.live()] == found


def test_a_release_that_has_passed_its_trial_is_promoted(
    storage: Folder, record: LapRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial(storage, shown("new", 7))
    interrupted(storage, record)
    verifying(monkeypatch, lambda: None)
    registry = ReleaseRegistry.of(storage)
    Path(registry.folder.path, REPLICAS, "r.json").unlink()  # nobody would follow
    promoted = promote_tried(LapRecord.open(storage, "values"), INDEX, registry, "new", 1.0, lambda _: None)
    assert promoted == {"release": "new", "previous": "old", "replicas": 0}


def test_an_operator_may_promote_the_release_while_the_lap_verifies_it(
    storage: Folder, record: LapRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial(storage, shown("new", 7))
    interrupted(storage, record)
    registry = ReleaseRegistry.of(storage)
    verifying(monkeypatch, lambda: registry.promote("new"))
    promoted = promote_tried(LapRecord.open(storage, "values"), INDEX, registry, "new", 1.0, lambda _: None)
    assert promoted == {"release": "new", "previous": "old", "replicas": 0}


def test_a_trial_does_not_take_the_place_of_an_experiment_that_begins_meanwhile(
    storage: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial(storage)
    registry, another = ReleaseRegistry.of(storage), Experiment("another", {"other": 0.5}, utc_timestamp())
    registry.promote("old")

    def begins() -> None:
        registry.update_pointer(lambda live: with_experiment(live, another))  # type: ignore[arg-type]

    verifying(monkeypatch, begins)
    with pytest.raises(ReleaseError, match=r"old: is not what is live alone \(live: old, with other on trial\)"):
        tried(storage)
    assert registry.live().experiment == another  # type: ignore[union-attr]


@pytest.mark.parametrize("percent", [5.0, 0.0])
def test_a_release_that_was_rolled_back_gets_no_traffic_from_the_next_lap(storage: Folder, percent: float) -> None:
    """The same data makes the same release again, such as where a job is started again at once."""
    running, registry = trial(storage), ReleaseRegistry.of(storage)
    registry.rollback("guard: new: 10.0% of its answers failed", running)
    registry.promote("other")
    with pytest.raises(LapStopped, match=r"new was rolled back \(guard: new: 10\.0% .*\) and gets no second trial"):
        tried(storage, CycleConfig(canary_percent=percent, canary_s=0.2))
        promote_tried(LapRecord.open(storage, "next"), INDEX, registry, "new", 1.0)
    assert registry.live().release == "other"  # type: ignore[union-attr]
    trial(storage, shown("new", 7))  # by hand
    assert tried(storage)["tried"], "an operator has given it traffic since"

"""The canary guard: a release on trial that does harm is rolled back, and the reason is recorded."""

import json
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data.artifacts.folders import MANIFEST, Folder
from data.artifacts.records.hourly_files import HourlyFiles
from serve.experiments.assignment import CONTROL, Experiment
from serve.experiments.canary_analysis import GuardConfig, find_regressions
from serve.experiments.exposure_files import SCHEMA, ExposureRun
from serve.releases.pointer import utc_timestamp, with_experiment
from serve.releases.registry import ReleaseRegistry
from serve.rollout.guard import CanaryGuard
from serve.rollout.heartbeats import Heartbeat, ReplicaRegistry
from tests.serve.experiments.answered import answered

CONFIG = GuardConfig()


def shown(
    variant: str, count: int = 400, failed: int = 0, degraded: int = 0, ms: float = 4.0, items: int = 500, seed: int = 0
) -> pa.Table:
    random = np.random.default_rng([seed, len(variant)])
    took_ms = (ms * random.lognormal(0, 0.3, count)).astype(np.float32)
    item_ids = [[f"i{item}" for item in random.integers(0, items, 10)] for _ in range(count)]
    return answered(variant, item_ids, failed, degraded, took_ms)


def faults(*trial: pa.Table, control: pa.Table | None = None) -> list[str]:
    return find_regressions(CONFIG, pa.concat_tables([shown(CONTROL, 2000) if control is None else control, *trial]))


def test_as_good_as_control_stays() -> None:
    for seed in range(20):
        assert faults(shown("new", seed=seed)) == []


def test_what_is_past_its_bound_is_said() -> None:
    assert faults(shown("new", failed=20)) == ["new: 5.0% of its answers failed, control's 0.0%"]
    assert faults(shown("new", degraded=60)) == ["new: 15.0% of its answers degraded, control's 0.0%"]
    (slow,) = faults(shown("new", ms=12.0))
    assert slow.startswith("new: p95 ")
    (narrow,) = faults(shown("new", items=20))
    assert narrow.startswith("new: 20 distinct items in 400 answers, control 500")


def test_neither_chance_nor_what_control_has_too_is_a_fault() -> None:
    assert faults(shown("new", failed=3)) == [], "above the bound, but so few may be chance"
    assert faults(shown("new", degraded=60), control=shown(CONTROL, 2000, degraded=280)) == []
    assert faults(shown("new", count=150, failed=150)) == [], "too few to judge"
    assert find_regressions(CONFIG, shown("new", failed=100)) == [], "nothing to compare with"


def of_one_user(exposures: pa.Table) -> pa.Table:
    return exposures.set_column(2, SCHEMA.field("user"), pa.array(["monitor"] * len(exposures), pa.string()))


def test_one_user_who_asks_again_and_again_ends_no_canary() -> None:
    """Such as a monitor: with a deadline that is too short, or a history of its own, that no other user has."""
    trial = shown("new")
    assert faults(trial, of_one_user(shown("new", 2000, degraded=2000, items=10))) == []
    assert faults(trial, of_one_user(shown("new", 2000, failed=2000))) == []
    assert faults(trial, of_one_user(shown("new", 2000, ms=50))) == []
    assert faults(of_one_user(shown("new", 2000, failed=2000, ms=50, items=10))) == [], "nobody else asks"
    assert faults(trial, control=pa.concat_tables([shown(CONTROL), of_one_user(shown(CONTROL, 2000, items=10))])) == []


def test_requests_of_nobody_count_by_themselves() -> None:
    nobody = shown("new", failed=20).set_column(2, SCHEMA.field("user"), pa.nulls(400, pa.string()))
    assert faults(nobody) == ["new: 5.0% of its answers failed, control's 0.0%"]


@pytest.fixture
def storage(tmp_path: Path) -> Folder:
    """Two releases that nobody opens: the guard reads exposures and moves the pointer."""
    for name in ("old", "new"):
        folder = tmp_path / "releases" / name
        folder.mkdir(parents=True)
        (folder / MANIFEST).write_text(json.dumps({"kind": "release", "created_at": "2026-01-01"}))
    storage = Folder.of(str(tmp_path))
    registry = ReleaseRegistry.of(storage)
    registry.promote("old")
    canary = Experiment("canary-new", {"new": 0.1}, utc_timestamp())
    registry.update_pointer(lambda live: with_experiment(live, canary))  # type: ignore[arg-type]
    return storage


def test_a_bad_canary_is_rolled_back_with_the_reason_on_record(storage: Folder) -> None:
    said: list[str] = []
    guard, running = CanaryGuard(CONFIG, storage, said.append), experiment(storage)
    run = ExposureRun.of(storage, running)
    run.write(running, "a-1", shown(CONTROL, 2000))
    run.write(running, "a-2", shown("new", 150, failed=30))
    assert guard.check() is None, "too few yet"
    run.write(running, "a-3", shown("new", 150, failed=30))
    reason = guard.check()
    live = ReleaseRegistry.of(storage).live()
    assert live is not None
    assert (live.release, live.experiment, live.rolled_back, live.reason) == ("old", None, "new", reason)
    assert reason == "guard: new: 20.0% of its answers failed, control's 0.0%"
    assert said == [f"{reason}. new rolled back; old answers all"]
    history = storage / "releases" / ".history"
    assert reason in [history.read_json(name)["reason"] for name in history.files()]
    assert guard.check() is None, "nothing is on trial any more"


def experiment(storage: Folder) -> Experiment:
    live = ReleaseRegistry.of(storage).live()
    assert live is not None
    assert live.experiment is not None
    return live.experiment


def test_replicas_that_die_in_an_experiment_end_it(storage: Folder) -> None:
    """An answer that its replica never gave, because it was killed, is in no exposure."""
    registry, running = ReleaseRegistry.of(storage), experiment(storage)
    replicas = ReplicaRegistry.of(registry.folder)
    gone = subprocess.Popen(["true"])
    gone.wait()
    for n, key in enumerate([running.key, "of another experiment", running.key]):
        replicas.write(Heartbeat(replica=f"Recommender-{n}", pid=gone.pid, experiment=key))
    replicas.write(Heartbeat(replica="Recommender-alive", experiment=running.key))
    guard = CanaryGuard(CONFIG, storage)
    assert guard.check() is None
    replicas.write(Heartbeat(replica="Recommender-last", pid=gone.pid, experiment=running.key))
    assert guard.check().startswith("guard: 3 replicas have died in the experiment within 24 h (Recommender-0 on ")
    assert registry.live().experiment is None


def test_what_was_shown_before_the_experiment_began_does_not_count(storage: Folder) -> None:
    old = shown("new", failed=200).set_column(
        0, SCHEMA.field("time"), pa.array([datetime(2026, 1, 1, tzinfo=UTC)] * 400, pa.timestamp("us", tz="UTC"))
    )
    earlier_layout = storage / "exposures" / "canary-new"
    earlier_layout.write_table("a-1.parquet", pa.concat_tables([shown(CONTROL, 2000), old]))
    running = experiment(storage)
    earlier = replace(running, since="2026-01-01T00:00:00.000+00:00")
    ExposureRun.of(storage, earlier).write(earlier, "a-2", shown("new", failed=200))
    assert CanaryGuard(CONFIG, storage).check() is None


def test_a_damaged_file_does_not_blind_the_guard(storage: Folder) -> None:
    said: list[str] = []
    running = experiment(storage)
    run, guard = ExposureRun.of(storage, running), CanaryGuard(CONFIG, storage, said.append)
    run.write(running, "a-1", pa.concat_tables([shown(CONTROL, 2000), shown("new", 150)]))
    Path(run.folder.path, run.rows.hours()[-1], "b.parquet").write_bytes(b"PAR1cut")
    assert guard.check() is None
    assert guard.check() is None
    assert len(said) == 1, "it is named once"
    assert "b.parquet: left out" in said[0]
    run.write(running, "a-2", shown("new", failed=200))
    assert guard.check() is not None


def test_a_compaction_that_fails_does_not_blind_the_guard(storage: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> list[str]:
        raise OSError("read-only")

    said: list[str] = []
    running = experiment(storage)
    run, guard = ExposureRun.of(storage, running), CanaryGuard(CONFIG, storage, said.append)
    monkeypatch.setattr(HourlyFiles, "compact", fail)
    run.write(running, "a-1", pa.concat_tables([shown(CONTROL, 2000), shown("new", 150)]))
    assert guard.check() is None
    assert guard.check() is None
    assert said == ["guard: exposures are not compacted, tried again in the next hour: read-only"]
    run.write(running, "a-2", shown("new", failed=200))
    assert guard.check() is not None


def test_an_experiment_that_has_ended_meanwhile_is_not_rolled_back(
    storage: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the guard judges the canary, somebody promotes it."""
    said: list[str] = []
    registry, running = ReleaseRegistry.of(storage), experiment(storage)
    ExposureRun.of(storage, running).write(
        running, "a-1", pa.concat_tables([shown(CONTROL, 2000), shown("new", failed=200)])
    )

    def judge(*arguments: object) -> list[str]:
        registry.promote("new")
        return find_regressions(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("serve.rollout.guard.find_regressions", judge)
    assert CanaryGuard(CONFIG, storage, said.append).check() is None
    live = registry.live()
    assert live is not None
    assert (live.release, live.rolled_back) == ("new", None)
    assert "Nothing is rolled back: experiment canary-new, begun at" in said[0]


def test_a_storage_that_does_not_answer_does_not_end_the_watch(storage: Folder) -> None:
    said: list[str] = []
    (Path(storage.path) / "releases" / "live.json").write_text("{")
    looks = iter([False, False, True])
    CanaryGuard(replace(CONFIG, every_s=0.01), storage, said.append).watch(lambda _: next(looks))
    assert len(said) == 2
    assert "not a live pointer" in said[0]


def judged_bad(storage: Folder) -> None:
    running = experiment(storage)
    exposures = pa.concat_tables([shown(CONTROL, 2000), shown("new", failed=200)])
    ExposureRun.of(storage, running).write(running, "a-1", exposures)


@pytest.mark.parametrize("content", [b"", b'{"replica": "x"', b"[]"])
def test_a_damaged_heartbeat_does_not_blind_the_guard(storage: Folder, content: bytes) -> None:
    judged_bad(storage)
    replicas = ReplicaRegistry.of(ReleaseRegistry.of(storage).folder)
    replicas.write(Heartbeat(replica="whole"))
    replicas.folder.write_bytes("cut.json", content)
    said: list[str] = []
    assert CanaryGuard(CONFIG, storage, said.append).check() is not None, said
    assert ReleaseRegistry.of(storage).live().rolled_back == "new"


def test_heartbeats_that_cannot_be_read_do_not_keep_the_guard_from_judging(
    storage: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("read-only")

    judged_bad(storage)
    monkeypatch.setattr(ReplicaRegistry, "clock", fail)
    monkeypatch.setattr("serve.rollout.guard.roll_back", lambda registry, *_, **__: registry.rollback())
    said: list[str] = []
    assert CanaryGuard(CONFIG, storage, said.append).check() is not None, said
    assert said[0] == "guard: whether replicas have died is not judged: read-only"

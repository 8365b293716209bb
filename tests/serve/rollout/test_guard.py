"""The canary guard: a release on trial that does harm is rolled back, and the reason is recorded."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data.artifacts.folders import MANIFEST, Folder
from serve.experiments.assignment import CONTROL, Experiment
from serve.experiments.canary_analysis import GuardConfig, find_regressions
from serve.experiments.exposures import SCHEMA, exposures_folder
from serve.releases.pointer import utc_timestamp, with_experiment
from serve.releases.registry import ReleaseRegistry
from serve.rollout.guard import CanaryGuard

CONFIG = GuardConfig()


def shown(
    variant: str, count: int = 400, failed: int = 0, degraded: int = 0, ms: float = 4.0, items: int = 500, seed: int = 0
) -> pa.Table:
    random = np.random.default_rng([seed, len(variant)])
    return pa.table(
        {
            "time": pa.array([datetime.now(UTC)] * count, pa.timestamp("us", tz="UTC")),
            "request_id": [f"{variant}{n}" for n in range(count)],
            "user": [f"u{n}" for n in range(count)],
            "experiment": ["canary-new"] * count,
            "variant": [variant] * count,
            "release_id": ["new"] * count,
            "degraded": np.arange(count) < degraded,
            "failed": np.arange(count) < failed,
            "took_ms": (ms * random.lognormal(0, 0.3, count)).astype(np.float32),
            "item_ids": [[f"i{item}" for item in random.integers(0, items, 10)] for _ in range(count)],
        }
    ).cast(SCHEMA)


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
    guard, folder = CanaryGuard(CONFIG, storage, said.append), exposures_folder(storage, "canary-new")
    folder.write_table("a-1.parquet", shown(CONTROL, 2000))
    folder.write_table("a-2.parquet", shown("new", 150, failed=30))
    assert guard.check() is None, "too few yet"
    folder.write_table("a-3.parquet", shown("new", 150, failed=30))
    reason = guard.check()
    live = ReleaseRegistry.of(storage).live()
    assert live is not None
    assert (live.release, live.experiment, live.rolled_back, live.reason) == ("old", None, "new", reason)
    assert reason == "guard: new: 20.0% of its answers failed, control's 0.0%"
    assert said == [f"{reason}. new rolled back; old answers all"]
    history = storage / "releases" / ".history"
    assert reason in [history.read_json(name)["reason"] for name in history.files()]
    assert guard.check() is None, "nothing is on trial any more"


def test_what_was_shown_before_the_experiment_began_does_not_count(storage: Folder) -> None:
    folder = exposures_folder(storage, "canary-new")
    old = shown("new", failed=200).set_column(
        0, "time", pa.array([datetime(2026, 1, 1, tzinfo=UTC)] * 400, pa.timestamp("us", tz="UTC"))
    )
    folder.write_table("a-1.parquet", pa.concat_tables([shown(CONTROL, 2000), old]))
    assert CanaryGuard(CONFIG, storage).check() is None


def test_a_storage_that_does_not_answer_does_not_end_the_watch(storage: Folder) -> None:
    said: list[str] = []
    (Path(storage.path) / "releases" / "live.json").write_text("{")
    looks = iter([False, False, True])
    CanaryGuard(replace(CONFIG, every_s=0.01), storage, said.append).watch(lambda _: next(looks))
    assert len(said) == 2
    assert "not a live pointer" in said[0]

"""The canary guard holds what its analysis needs, however long an experiment runs and however much is shown in it."""

from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest

from data.artifacts.folders import MANIFEST, Folder
from serve.experiments import judged_answers
from serve.experiments.assignment import CONTROL, Experiment
from serve.experiments.canary_analysis import GuardConfig
from serve.experiments.exposure_files import SCHEMA, ExposureRun
from serve.experiments.judged_answers import JudgedRun
from serve.releases.pointer import LivePointer
from serve.releases.registry import POINTER, ReleaseRegistry
from serve.rollout.guard import CanaryGuard
from tests.serve.rollout.test_guard import of_one_user, shown

SINCE = "2026-01-31T09:00:00.000+00:00"
RUNNING = Experiment("canary-new", {"new": 0.1}, SINCE)


def point(storage: Folder, experiment: Experiment | None) -> None:
    live = LivePointer("old", None, SINCE, experiment=experiment)
    ReleaseRegistry.of(storage).folder.create().write_json(POINTER, live.as_json())


@pytest.fixture
def storage(tmp_path: Path) -> Folder:
    storage = Folder.of(str(tmp_path))
    for name in ("old", "new"):
        manifest = {"kind": "release", "created_at": "2026-01-01"}
        ReleaseRegistry.of(storage).path(name).create().write_json(MANIFEST, manifest)
    point(storage, RUNNING)
    return storage


def guard_of(storage: Folder) -> CanaryGuard:
    return CanaryGuard(GuardConfig(), storage, lambda _: None)


def at(moment: str, exposures: pa.Table, users: str = "u") -> pa.Table:
    """The exposures at a moment, to users of their own."""
    times = pa.array([datetime.fromisoformat(moment)] * len(exposures), SCHEMA.field("time").type)
    named = pa.array([f"{users}{n}" for n in range(len(exposures))])
    return exposures.set_column(0, SCHEMA.field("time"), times).set_column(2, SCHEMA.field("user"), named)


def test_of_a_long_experiment_it_holds_the_latest_exposures_and_no_names_of_files_that_it_never_reads_again(
    storage: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judged_answers, "MAX_ANSWERS", 40)
    monkeypatch.setattr(judged_answers, "MAX_CONTROL", 400)
    run, guard = ExposureRun.of(storage, RUNNING), guard_of(storage)
    for hour in range(10, 16):
        for name in "abc":
            shown_now = pa.concat_tables([shown(CONTROL, 600), shown("new", 10)])
            run.folder.write_table(f"2099-01-31T{hour}/{name}.parquet", at(f"2099-01-31T{hour}:00+00:00", shown_now))
        assert guard.check() is None
    held = guard._judged.of["new"].exposures
    assert held["variant"].to_pylist().count("new") == 40
    assert 40 < len(held) <= 440
    assert {file[:13] for file in guard._files_read} == {"2099-01-31T14", "2099-01-31T15"}
    run.folder.write_table("2099-01-31T15/d.parquet", at("2099-01-31T15:30+00:00", shown("new", 40)))
    assert guard.check() is None
    assert guard._judged.of["new"].exposures["variant"].to_pylist() == ["new"] * 40, "nothing of control since then"
    point(storage, None)
    assert guard.check() is None
    assert (dict(guard._judged.of), guard._files_read) == ({}, set()), "nothing when the experiment is over"


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_canary_of_a_small_share_is_judged_by_its_own_latest_answers(
    storage: Folder, is_restarted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its 200 answers are fewer than one of a hundred, and control's are more than are held."""
    monkeypatch.setattr(judged_answers, "MAX_CONTROL", 4000)
    run, guard = ExposureRun.of(storage, RUNNING), guard_of(storage)
    for hour in range(10, 15):
        moment = f"2099-01-31T{hour}:00:00+00:00"
        run.folder.write_table(f"2099-01-31T{hour}/a.parquet", at(moment, shown(CONTROL, 6000), f"{hour}-"))
        run.folder.write_table(f"2099-01-31T{hour}/b.parquet", at(moment, shown("new", 40, failed=8), f"t{hour}-"))
        if not is_restarted and hour < 14:
            assert guard.check() is None, "too few yet"
    assert guard.check() == "guard: new: 20.0% of its answers failed, control's 0.0%"


def test_control_is_compared_in_the_same_time(storage: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """All were slow and degraded in the night, and nobody is by day. The canary gave as many answers in both."""
    monkeypatch.setattr(judged_answers, "MAX_CONTROL", 4000)
    run = ExposureRun.of(storage, RUNNING)
    for hour, of_hour in ((3, {"degraded": 3000, "ms": 40.0}), (12, {"degraded": 0, "ms": 4.0})):
        for variant, count in ((CONTROL, 6000), ("new", 300)):
            degraded = int(of_hour["degraded"] * count / 6000)
            rows = shown(variant, count, degraded=degraded, ms=of_hour["ms"])
            moment, file = f"2099-01-31T{hour:02}:00+00:00", f"2099-01-31T{hour:02}/{variant}.parquet"
            run.folder.write_table(file, at(moment, rows, f"{variant}{hour}-"))
    guard = guard_of(storage)
    assert guard.check() is None
    (share,) = {answers.share for answers in guard._judged.of.values()}
    assert share < 0.5, "control's answers of the night count, to a part of its users"


def test_what_is_left_out_of_control_are_whole_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten answers to each user, of which one is bad: on both sides every user has had a bad one."""
    monkeypatch.setattr(judged_answers, "MAX_CONTROL", 4000)
    answers = [at(f"2026-01-31T{hour}:00+00:00", shown(CONTROL, 2000)) for hour in range(10, 20)]
    judged = JudgedRun.begun(["new"]).with_groups(answers).cut().of["new"]
    per_user = judged.exposures.group_by("user").aggregate([([], "count_all")])["count_all"].to_pylist()
    assert set(per_user) == {10}
    assert 100 < len(per_user) <= 400


def test_one_user_who_asks_all_day_displaces_nobody(storage: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judged_answers, "MAX_ANSWERS", 1000)
    monkeypatch.setattr(judged_answers, "MAX_CONTROL", 4000)
    run = ExposureRun.of(storage, RUNNING)
    for variant, failed in ((CONTROL, 0), ("new", 60)):
        run.folder.write_table(f"2099-01-31T10/{variant}.parquet", shown(variant, 300, failed=failed))
        run.folder.write_table(f"2099-01-31T11/{variant}.parquet", of_one_user(shown(variant, 6000)))
    assert guard_of(storage).check() == "guard: new: 15.0% of its answers failed, control's 0.0%"

"""Exposures on disk: a folder for each run, damaged files left out, hours compacted without loss or repetition."""

import json
import re
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.artifacts.errors import ConfigError, UserError
from data.artifacts.folders import Folder
from data.artifacts.records.hourly_files import hour_name
from data.sources.schema import DataError
from serve.experiments.assignment import Experiment, TrafficConfig
from serve.experiments.chosen_run import choose_run
from serve.experiments.exposure_files import SCHEMA, ExposureRun

AT_5 = Experiment("canary", {"b": 0.05}, "2026-01-31T09:05:00.250+00:00")
AT_20 = Experiment("canary", {"b": 0.2}, "2026-01-31T10:00:00.000+00:00")
CANARY = TrafficConfig(name="canary")
NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def shown(*request_ids: str, at: str = "2026-01-31T10:30:00") -> pa.Table:
    row = {"time": datetime.fromisoformat(at).replace(tzinfo=UTC), "user": None, "experiment": "canary", "variant": "b"}
    row |= {"release_id": "b", "degraded": False, "failed": False, "took_ms": 1.0, "item_ids": ["i"]}
    return pa.Table.from_pylist([row | {"request_id": id_} for id_ in request_ids], schema=SCHEMA)


def test_exposures_without_a_variant_are_left_out_and_named(storage: Folder) -> None:
    run = ExposureRun.of(storage, AT_5)
    run.write(AT_5, "replica-a", shown("1", "2"))
    hour = run.rows.hours()[0]
    damaged = shown("3", "4").set_column(SCHEMA.get_field_index("variant"), "variant", pa.array(["b", None]))
    pq.write_table(damaged, f"{run.folder.path}/{hour}/replica-b.parquet")
    read = choose_run(storage, CANARY, AT_5, None).exposures
    assert ids(read.table) == ["1", "2"]
    assert [re.sub(".*/", "", said) for said in read.damaged] == [
        "replica-b.parquet: left out, because it cannot be read as exposures"
        " (Casting field 'variant' with null values to non-nullable)"
    ]


def test_a_file_where_the_folder_of_an_experiment_should_be_is_named(storage: Folder) -> None:
    storage.create().write_bytes("exposures/canary", b"")
    with pytest.raises(UserError, match="exposures/canary: is a file, and should be a folder; move it away"):
        choose_run(storage, CANARY, None, None)


def ids(table: pa.Table) -> list[str]:
    return sorted(table["request_id"].to_pylist())


@pytest.fixture
def storage(tmp_path: Path) -> Folder:
    return Folder.of(str(tmp_path))


def test_runs_of_one_name_are_kept_apart(storage: Folder) -> None:
    for experiment, request in ((AT_5, "1"), (AT_20, "2")):
        ExposureRun.of(storage, experiment).write(experiment, "replica-a", shown(request))
    assert AT_5.run == "2026-01-31T09-05-00.250Z"
    newest = choose_run(storage, CANARY, None, None)
    assert (ids(newest.exposures.table), newest.experiment, newest.others) == (["2"], AT_20, [AT_5.since])
    running = choose_run(storage, CANARY, AT_5, None)
    assert (ids(running.exposures.table), running.experiment) == (["1"], AT_5)
    assert choose_run(storage, CANARY, None, "2026-01-31T09").experiment == AT_5
    with pytest.raises(ConfigError, match="since: '2026' is the beginning of 2 runs of 'canary'; runs began at"):
        choose_run(storage, CANARY, None, "2026")
    with pytest.raises(ConfigError, match=r"traffic\.shares: \{'b': 0\.5\} are not those of the run begun at"):
        choose_run(storage, replace(CANARY, shares={"b": 0.5}), None, None)


def test_of_a_run_the_requests_with_an_outcome_are_read_and_who_was_shown_something(storage: Folder) -> None:
    run = ExposureRun.of(storage, AT_20)
    to_ann = shown("2", "3", "4").set_column(2, SCHEMA.field("user"), pa.array(["ann"] * 3))
    run.write(AT_20, "replica-a", pa.concat_tables([shown("1"), to_ann]))
    run.write(AT_20, "replica-b", to_ann)
    read = choose_run(storage, CANARY, None, None, pa.chunked_array([["3", "9"]])).exposures
    rows = [(row["user"], row["request_id"]) for row in read.table.to_pylist()]
    assert sorted(rows, key=str) == [("ann", "3"), ("ann", None), (None, "1")]
    assert len(read.files) == 2


def test_what_an_earlier_version_wrote_counts_for_the_run_within_whose_time_it_is(storage: Folder) -> None:
    folder = storage / "exposures" / "canary"
    folder.write_table("a-1.parquet", shown("old", at="2023-01-01T00:00:00"))
    folder.write_table("a-2.parquet", shown("new"))
    assert ids(choose_run(storage, CANARY, AT_20, None).exposures.table) == ["new"]
    with pytest.raises(ConfigError, match="experiment 'canary' is over; give traffic.shares.ID"):
        choose_run(storage, CANARY, None, None)
    over = choose_run(storage, replace(CANARY, shares={"b": 0.2}), None, None)
    assert ids(over.exposures.table) == ["new", "old"]


def test_a_run_of_a_later_version_is_read(storage: Folder) -> None:
    run = ExposureRun.of(storage, AT_20)
    run.write(AT_20, "a", shown("1"))
    run.folder.write_json("experiment.json", run.folder.read_json("experiment.json") | {"salt": "x"})
    assert choose_run(storage, CANARY, None, None).experiment == AT_20


@pytest.mark.parametrize("content", [b"{", b"[]", b"null", b'{"name": "canary"}', b"\xff"])
def test_a_run_that_cannot_be_read_blocks_no_other(storage: Folder, content: bytes) -> None:
    for experiment in (AT_5, AT_20):
        ExposureRun.of(storage, experiment).write(experiment, "a", shown("1"))
    ExposureRun.of(storage, AT_20).folder.write_bytes("experiment.json", content)
    chosen = choose_run(storage, CANARY, None, None)
    assert (chosen.experiment, chosen.others) == (AT_5, [])
    (said,) = chosen.exposures.damaged
    assert re.match(r"left out: .*T10-00-00\.000Z/experiment\.json: not a run of an experiment", said)
    running = choose_run(storage, CANARY, AT_20, None)
    assert (running.experiment, ids(running.exposures.table)) == (AT_20, ["1"])


def test_no_exposures_is_one_clear_error(storage: Folder) -> None:
    with pytest.raises(DataError, match="traffic.name: 'canary', run begun at .*: no exposures in"):
        choose_run(storage, CANARY, AT_20, None)


def test_a_damaged_file_is_named_and_the_rest_is_read(storage: Folder) -> None:
    run = ExposureRun.of(storage, AT_20)
    run.write(AT_20, "a", shown("1"))
    (hour,) = run.rows.hours()
    whole = Path(run.folder.path, hour, "a.parquet").read_bytes()
    for name, content in (("b", whole[:100]), ("c", b""), ("d", whole[:-20] + b"x" * 20)):
        Path(run.folder.path, hour, f"{name}.parquet").write_bytes(content)
    pq.write_table(pa.table({"x": [1]}), f"{run.folder.path}/{hour}/e.parquet")
    read = run.read()
    assert ids(read.table) == ["1"]
    assert [damaged.split(": ")[0].rsplit("/")[-1] for damaged in read.damaged] == [f"{x}.parquet" for x in "bcde"]


def test_an_hour_that_is_over_becomes_one_file_once(storage: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    run = ExposureRun.of(storage, AT_20)
    for hour, names in (("2026-01-31T10", "abc"), ("2026-01-31T11", "de")):
        for name in names:
            run.folder.write_table(f"{hour}/{name}.parquet", shown(name))
    Path(run.folder.path, "2026-01-31T10", "cut.parquet").write_bytes(b"PAR1")
    assert run.rows.compact(NOW - timedelta(minutes=60)) == [], "hour 10 has only just ended"
    with monkeypatch.context() as crash, pytest.raises(KeyboardInterrupt):
        crash.setattr(Folder, "delete_file", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        run.rows.compact(NOW)
    assert ids(run.read().table) == list("abcde"), "between the new file and the deletion of the old ones"
    assert run.rows.compact(NOW) == []
    assert sorted(run.folder.files()) == [
        "2026-01-31T10.parquet", "2026-01-31T10/cut.parquet", "2026-01-31T11/d.parquet", "2026-01-31T11/e.parquet",
    ]  # fmt: skip
    assert ids(run.read().table) == list("abcde")
    run.folder.write_table("2026-01-31T10/late.parquet", shown("late"))
    assert run.rows.compact(NOW) == ["2026-01-31T10"]
    assert ids(run.read().table) == ["a", "b", "c", "d", "e", "late"]


def test_a_damaged_compacted_file_is_named_and_not_replaced(storage: Folder) -> None:
    run = ExposureRun.of(storage, AT_20)
    run.folder.write_table("2026-01-31T10/a.parquet", shown("a"))
    assert run.rows.compact(NOW) == ["2026-01-31T10"]
    compacted = Path(run.folder.path, "2026-01-31T10.parquet")
    compacted.write_bytes(compacted.read_bytes()[:-30])
    run.folder.write_table("2026-01-31T10/late.parquet", shown("late"))
    before = compacted.read_bytes()
    assert run.rows.compact(NOW) == []
    assert compacted.read_bytes() == before
    read = run.read()
    assert ids(read.table) == ["late"]
    (damaged,) = read.damaged
    assert "2026-01-31T10.parquet: left out" in damaged


def test_files_are_of_the_hour_in_which_they_are_written(storage: Folder) -> None:
    run, before = ExposureRun.of(storage, AT_20), hour_name(datetime.now(UTC))
    run.write(AT_20, f"a-{time.time_ns()}", shown("1"))
    assert before <= run.rows.hours()[0] <= hour_name(datetime.now(UTC))


def test_a_name_that_never_was_is_said_with_those_that_are(storage: Folder) -> None:
    ExposureRun.of(storage, AT_20).write(AT_20, "a", shown("1"))
    for shares in ({}, {"b": 0.2}):
        with pytest.raises(ConfigError, match=r"traffic\.name: there is no experiment 'canray'; there are canary"):
            choose_run(storage, TrafficConfig(name="canray", shares=shares), None, None)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"since": "yesterday"}, "yesterday"),
        ({"since": "2026-01-31T10:00:00.000"}, "no time zone"),
        ({"since": 5}, "since is 5"),
        ({"since": None}, "since is None"),
        ({"shares": None}, "shares is None"),
        ({"shares": [1]}, "shares is"),
        ({"shares": {"b": "x"}}, "shares is"),
        ({"shares": {"b": 1.5}}, "between 0 and 1"),
        ({"shares": {"b": 0}}, "between 0 and 1"),
        ({"shares": {"b": 0.5, "c": 0.5}}, "less than 1"),
        ({"shares": {"control": 0.5}}, "what the shares leave"),
        ({"name": "other"}, "describes run .* of 'other'"),
        ({"since": AT_5.since}, "describes run 2026-01-31T09"),
        (None, "empty"),
    ],
)
def test_the_only_run_of_a_name_is_named_where_its_file_is_damaged(
    storage: Folder, changed: dict | None, said: str
) -> None:
    run = ExposureRun.of(storage, AT_20)
    run.write(AT_20, "a", shown("1"))
    value = run.folder.read_json("experiment.json")
    run.folder.write_bytes("experiment.json", b"" if changed is None else json.dumps(value | changed).encode())
    for since in (None, "2026"):
        with pytest.raises(ConfigError, match=rf"experiment\.json: not a run of an experiment \(.*{said}"):
            choose_run(storage, CANARY, None, since)


@pytest.mark.parametrize("made_of", [b"{garbage", b"5", b"[1]", b"null"])
def test_a_compacted_file_that_does_not_say_what_it_is_made_of_is_damaged(storage: Folder, made_of: bytes) -> None:
    """Its rows could count twice: they may be in the small files too."""
    run = ExposureRun.of(storage, AT_20)
    rows = shown("a", "b")
    run.folder.write_table("2026-01-31T10.parquet", rows.replace_schema_metadata({"compacted": made_of}))
    run.folder.write_table("2026-01-31T10/late.parquet", shown("late"))
    read = run.read()
    assert ids(read.table) == ["late"]
    (damaged,) = read.damaged
    assert "2026-01-31T10.parquet: left out" in damaged
    assert run.rows.compact(NOW) == []


def test_the_rows_of_an_hour_are_added_up_file_by_file_but_those_of_a_damaged_one(storage: Folder) -> None:
    run = ExposureRun.of(storage, AT_20)
    for minute in (50, 10, 30):
        run.folder.write_table(f"2026-01-31T10/{minute}.parquet", shown(f"{minute}", at=f"2026-01-31T10:{minute}:00"))
    assert run.rows.compact(NOW)
    run.folder.write_table("2026-01-31T10/55.parquet", shown("55", at="2026-01-31T10:55:00"))
    Path(run.folder.path, "2026-01-31T10", "cut.parquet").write_bytes(b"PAR1")

    def add(number: int, groups: Iterable[pa.Table]) -> int:
        return number + sum(map(len, groups))

    read = run.rows.fold_hour("2026-01-31T10", 0, add)
    assert (read.value, len(read.files), len(read.damaged)) == (4, 3, 1)
    assert run.rows.fold_hour("2026-01-31T10", 7, add, frozenset(read.files)).value == 7

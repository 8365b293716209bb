"""A trial counts as done only with the same config, log and code."""

import importlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from data.artifacts.folders import Folder
from data.artifacts.plugins import VARIABLE
from data.artifacts.seals import sealing
from data.cluster.code_digest import code_digest
from data.sources.event_log.files import EventLog
from tests.towers.sweeps.changing_world import World, jobs
from towers.sweeps.records import Record, Records, State
from towers.sweeps.reuse.inputs import TrialInputs, changed_lines


def test_nothing_changed_and_all_is_done(world: World) -> None:
    assert len(world.trials(jobs(world))) == 2
    assert world.trials(jobs(world)) == []


def test_a_changed_yaml_runs_again_and_says_which_key(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.trials(jobs(world))
    world.write_yaml(users=77)
    assert len(world.trials(jobs(world))) == 2
    expected = "sweep: no longer counts as done: trial 0, 1: data.users_per_part was 50 and is 77\n"
    assert capsys.readouterr().out == expected
    assert world.trials(jobs(world)) == []


@pytest.mark.slow
def test_a_changed_log_runs_again(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.trials(jobs(world))
    with world.log.open("a") as log:
        log.write("c,d,2\n")
    assert len(world.trials(jobs(world))) == 2
    assert capsys.readouterr().out == "sweep: no longer counts as done: trial 0, 1: the log has changed\n"


def test_each_file_of_a_log_counts(world: World) -> None:
    """The files of vectors are no part of the source, which the trials share."""
    vectors = [world.folder / "a.parquet", world.folder / "b.parquet"]
    for path in vectors:
        path.write_text("one")
    several = [[*jobs(world)[0], f"data.item_vectors={path}"] for path in vectors]
    assert len(world.trials(several)) == 2
    vectors[1].write_text("another")
    assert world.trials(several) == [several[1][-1]]


def test_until_when_a_growing_log_is_read_counts(world: World) -> None:
    """A part that was written before it counts does not change its files when it does."""
    log = EventLog.of(Folder.of(str(world.folder)))
    log.folder.create()
    events = [["experiment=mygrid", "data=events", f"data.source.root={world.folder}"]]
    assert len(world.trials(events)) == 1 and world.trials(events) == []
    log.set_until(7)
    assert len(world.trials(events)) == 1 and world.trials(events) == []


def test_the_checkpoint_in_the_place_that_a_training_starts_from_counts(world: World) -> None:
    inputs, sweep = world.reader(verb="towers.train")

    def of_start(folder: Path) -> TrialInputs:
        return inputs.of(sweep.trial_config(0, [*jobs(world)[0], f"train.start_from={folder}"]))

    start, final = world.folder / "start", world.folder / "final"
    absent = of_start(start)
    with sealing(Folder.of(str(start)), {"fit_on": "train"}) as folder:
        folder.write_bytes("weights", b"one")
    with sealing(Folder.of(str(final)), {"fit_on": "all", "settled": str(start)}) as folder:
        folder.write_bytes("weights", b"final")
    first, first_final = of_start(start), of_start(final)
    assert absent != first == of_start(start)
    with sealing(Folder.of(str(start)), {"fit_on": "train"}) as folder:
        folder.write_bytes("weights", b"two")
    assert "train.start_from.fingerprint was" in of_start(start).differences(first.as_json(), same_code=True)
    assert of_start(final) != first_final, "it starts with the weights of the measured fit"
    assert "train.start_from.fingerprint" not in inputs.of(sweep.trial_config(0, jobs(world)[0])).config


@pytest.mark.slow
def test_a_log_of_the_same_size_written_later_runs_again(world: World) -> None:
    world.trials(jobs(world))
    os.utime(world.log, (1e9, 1e9))
    assert len(world.trials(jobs(world))) == 2


@pytest.mark.slow
def test_changed_code_runs_again_unless_it_is_declared_the_same(world: World) -> None:
    world.trials(jobs(world))
    records = Records(world.folder / "sweep").read()
    world.code = "two"
    inputs, _ = world.reader(same_code=False)
    assert inputs.split_changed(records) == (records, [])
    inputs, _ = world.reader()
    (line,) = changed_lines(inputs.split_changed(records)[1])
    assert "the code has changed (hydra.launcher.same_code=false counts it as the same)" in line
    assert len(world.trials(jobs(world))) == 2


def test_a_value_that_the_command_does_not_use_does_not_count(world: World) -> None:
    prepare, sweep = world.reader()
    train, _ = world.reader(verb="towers.train")
    config = sweep.trial_config(0, [*jobs(world)[0], "train.epochs=9", "train.threads=2", "cluster.num_cpus=3"])
    assert "train.epochs" not in prepare.of(config).config
    of_train = train.of(config).config
    assert of_train["train.epochs"] == 9
    assert not {"train.threads", "cluster.num_cpus", "serve.port", "tracking.mode"} & set(of_train)


@pytest.mark.slow
def test_trials_that_left_the_grid_are_set_aside_with_the_config_they_had(world: World) -> None:
    """Otherwise the leaderboard would rank yesterday's config beside today's."""
    world.trials(jobs(world))
    world.write_yaml(users=77)
    world.trials(jobs(world)[:1])
    assert [record.overrides[-1] for record in Records(world.folder / "sweep").read()] == ["data.split.kind=temporal"]


@pytest.mark.slow
def test_a_record_of_an_earlier_version_is_not_taken_for_done(world: World) -> None:
    Records(world.folder / "sweep").add(Record(number=0, overrides=jobs(world)[0], state=State.finished, result={}))
    assert len(world.trials(jobs(world))) == 2


def test_many_differences_are_counted() -> None:
    now = TrialInputs(config={f"k{n}": 1 for n in range(9)}, log=None, code="a")
    before = {"config": {f"k{n}": 0 for n in range(8)}, "log": None, "code": "a"}
    text = now.differences(before, same_code=True)
    assert text.startswith("k0 was 0 and is 1; k1 was 0 and is 1;")
    assert text.endswith("; 5 more values are others")
    assert "k8" not in text


@pytest.mark.slow
def test_the_code_counts_and_its_comments_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "mine_for_the_digest"
    package.mkdir()
    (package / "__init__.py").write_text("")
    source = package / "part.py"
    source.write_text('"""Says."""\n\n\ndef f():\n    return 1\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("mine_for_the_digest")
    first = code_digest("mine_for_the_digest.part")
    source.write_text('"""Says more."""\n# and this\ndef f():\n    """Says."""\n    return 1\n')
    commented = code_digest("mine_for_the_digest.part")
    source.write_text("def f():\n    return 2\n")
    assert code_digest("mine_for_the_digest.part") != first
    source.write_text('"""Says."""\n\n\ndef f():\n    """x"""\n    return 1\n')
    assert code_digest("mine_for_the_digest.part") == commented
    assert code_digest() == code_digest("data.prepare")


@pytest.mark.slow
def test_an_installed_plugin_counts_as_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new release of a loss was "already trained", with the figures of the one before."""
    package = tmp_path / "site-packages" / "shop_for_the_digest"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("WEIGHT = 1\n")
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setenv(VARIABLE, "")
    importlib.import_module(package.name)
    assert code_digest(package.name) == code_digest(), "whatever imports us, such as a notebook's kernel, is none"
    monkeypatch.setenv(VARIABLE, package.name)
    first = code_digest(package.name)
    (package / "__init__.py").write_text("WEIGHT = 2\n")
    assert code_digest(package.name) != first


def test_a_changed_grid_gives_no_number_of_another_trial_again(world: World) -> None:
    """Its folder was that of a finished trial, whose summary and config were overwritten."""
    one, other = jobs(world)
    assert len(world.trials([other])) == 1
    assert world.trials([one, other]) == [one[-1]]
    records = Records(world.folder / "sweep").read()
    assert {record.overrides[-1]: record.number for record in records} == {other[-1]: 0, one[-1]: 2}
    third = [*one[:-1], "data.split.kind=temporal_by_user"]
    world.trials([third, one, other])
    assert {r.overrides[-1]: r.number for r in Records(world.folder / "sweep").read()}[third[-1]] == 3


def test_records_replace_and_set_aside(tmp_path: Path) -> None:
    records, one = Records(tmp_path), Record(number=0, overrides=["a=1"], state=State.finished, result={"v": 1})
    records.add(one)
    records.set_aside([one])
    assert records.read() == []
    records.add(replace(one, result={"v": 2}))
    assert [record.value("v") for record in records.read()] == [2]


def test_records_have_no_password_and_trials_with_one_are_known_again(world: World) -> None:
    world.typed_in = ["data.item_vectors=s3://KEY:Secret9@bucket/vectors.parquet"]
    passed_on = r"data.item_vectors=s3\://KEY\:Secret9@bucket/vectors.parquet"  # by Hydra's sweeper
    with_vectors = [[*job[:-1], passed_on, job[-1]] for job in jobs(world)]
    assert len(world.trials(with_vectors)) == 2
    written = (world.folder / "sweep" / "trials.jsonl").read_text()
    assert "***@bucket/vectors.parquet" in written
    assert "Secret9" not in written
    assert world.trials(with_vectors) == []

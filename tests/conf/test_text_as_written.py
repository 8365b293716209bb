"""Keys of text may be typed as numbers or truth values, on a command line and in yaml."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from conf.schema import composed, load, translated
from data.artifacts.errors import ConfigError
from data.artifacts.structured import typed

LOG = ["data=csv", "data.source.interactions=x", "data.source.columns.type=event"]
OWN = "defaults: [csv, _self_]\nsource:\n  interactions: x\n  columns: {type: event}"


@pytest.mark.parametrize(
    ("overrides", "weights"),
    [
        (["data.events={1: {weight: 2}, 2: {}}"], {"1": 2, "2": 1}),
        (["+data.events={1:{weight:2}}"], {"1": 2}),
        (["+data.events.1.weight=2", "data.events.2.weight=3"], {"1": 2, "2": 3}),
        (["+data.events.buy.weight=2"], {"buy": 2}),
        (["data.events={true: {weight: 2}}"], {"true": 2}),
    ],
)
def test_event_types_may_be_numbers(overrides: list[str], weights: dict[str, float]) -> None:
    assert {name: of.weight for name, of in load([*LOG, *overrides]).data.events.items()} == weights


def test_event_types_and_machines_of_ones_own_need_no_yaml() -> None:
    types = load(["events.types.share.weight=2", "events.types.view.seen=true"]).events.types
    assert (types["share"].weight, types["view"].seen, types["view"].weight) == (
        2,
        True,
        load().events.types["view"].weight,
    )
    machine = {"instance": "big", "cpus": 8, "memory_gib": 64, "cost_per_month": 9}
    values = ", ".join(f"{name}: {value}" for name, value in machine.items())
    machines = load([f"capacity.machines.mine={{{values}}}"]).capacity.machines
    assert (machines["mine"].cpus, len(machines)) == (8, 1 + len(load().capacity.machines))


@pytest.mark.parametrize("typed_in", ["data.events.buy.weight=1,5", "+data.events.buy={weight: 1},{weight: 5}"])
def test_a_value_of_an_event_type_can_be_swept_over(typed_in: str) -> None:
    (override,) = OverridesParser.create().parse_overrides(translated([typed_in]))
    assert override.is_sweep_override()
    points = [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
    assert [load([*LOG, point]).data.events["buy"].weight for point in points] == [1, 5]


def test_other_mappings_may_have_numbers_as_keys() -> None:
    assert load(["train.labels={1: x, 2: 3}"]).train.labels == {"1": "x", "2": "3"}
    assert load(["traffic.shares={1: 0.5}"]).traffic.shares == {"1": 0.5}
    goals = load([*LOG, "data.events={1: {}, 2: {}}", "rerank.goals={1: 0.5}"]).rerank.goals
    assert goals == {"1": 0.5}
    assert load(["ingest.schemas={17: event.avsc}", "ingest.format=avro"]).ingest.schemas == {17: "event.avsc"}


def test_a_yaml_may_have_them_too(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    events = "events:\n  2: {weight: 2}\n  true: {}\n  '007': {weight: 3}\n"
    (tmp_path / "data" / "numbered.yaml").write_text(f"{OWN}\n{events}")
    found = typed(composed(["data=numbered"], [tmp_path])).data.events
    assert {name: of.weight for name, of in found.items()} == {"2": 2, "true": 1, "007": 3}


def test_a_yaml_holds_the_words_that_are_written_in_it(tmp_path: Path) -> None:
    """Yaml alone would take `no` for false and 007 for 7: the event type of the log would have another name."""
    (tmp_path / "data").mkdir()
    names = ["yes", "no", "on", "Off", "True", "007", "1_0", "1e3", "1.50", "0x1F", "12:30", "2026-01-31", "2"]
    events = "".join(f"  {name}: {{weight: 1e1}}\n" for name in names)
    (tmp_path / "data" / "words.yaml").write_text(f"{OWN}\n  missing: [{', '.join(names)}]\nevents:\n{events}")
    found = typed(composed(["data=words"], [tmp_path])).data
    assert list(found.events) == names == found.source.missing
    assert {of.weight for of in found.events.values()} == {10.0}


def test_other_values_of_a_yaml_are_what_they_were(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    lines = ["restore: yes", "promote: Off", "force: True", "seed: 1_000", "percent: 1e1", "find: null", "keep: 007"]
    lines += ["train: {learning_rate: 1e-3, epochs: 12, weight_decay: .5}", "evaluate: {max_users: ~, ks: [10, 020]}"]
    text = "\n".join(["# @package _global_", *lines])
    (tmp_path / "experiment" / "values.yaml").write_text(f"{text}\n")
    found = composed(["experiment=values", "evaluate.k=20"], [tmp_path])
    assert (found.restore, found.promote, found.force, found.seed) == (True, False, True, 1000)
    assert (found.percent, found.find, found.keep, list(found.evaluate.ks)) == (10.0, None, 7, [10, 20])
    assert (found.train.learning_rate, found.train.epochs, found.train.weight_decay) == (0.001, 12, 0.5)
    assert found.evaluate.max_users is None


@pytest.mark.parametrize("key", ["007", "1_0", "True", "1.50", "1e3"])
def test_a_key_that_would_be_another_text_is_refused_with_a_cure(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^data\.events: the key {key} would .* in quotes there: '{key}'"):
        load([*LOG, f"data.events={{buy: {{weight: 1e1}}, {key}: {{weight: 2}}}}"])

"""Keys of text may be typed as numbers or truth values, on a command line and in yaml."""

from pathlib import Path

import pytest

from conf.schema import composed, load
from data.artifacts.errors import ConfigError
from data.artifacts.structured import typed

LOG = ["data=csv", "data.source.interactions=x"]


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


def test_other_mappings_may_have_numbers_as_keys() -> None:
    assert load(["train.labels={1: x, 2: 3}"]).train.labels == {"1": "x", "2": "3"}
    assert load(["traffic.shares={1: 0.5}"]).traffic.shares == {"1": 0.5}
    goals = load([*LOG, "data.events={1: {}, 2: {}}", "rerank.goals={1: 0.5}"]).rerank.goals
    assert goals == {"1": 0.5}
    assert load(["ingest.schemas={17: event.avsc}", "ingest.format=avro"]).ingest.schemas == {17: "event.avsc"}


def test_a_yaml_may_have_them_too(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    events = "events:\n  2: {weight: 2}\n  true: {}\n  '007': {weight: 3}\n"
    (tmp_path / "data" / "numbered.yaml").write_text(f"defaults: [csv, _self_]\nsource: {{interactions: x}}\n{events}")
    found = typed(composed(["data=numbered"], [tmp_path])).data.events
    assert {name: of.weight for name, of in found.items()} == {"2": 2, "true": 1, "007": 3}


@pytest.mark.parametrize("key", ["007", "1_0", "True", "1.50", "1e3"])
def test_a_key_that_would_be_another_text_is_refused_with_a_cure(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^data\.events: the key {key} would .* in quotes there: '{key}'"):
        load([*LOG, f"data.events={{buy: {{weight: 1e1}}, {key}: {{weight: 2}}}}"])

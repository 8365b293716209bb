"""Settings of a source in a manifest: which log's they are, and the source that had them."""

from pathlib import Path

import pytest

from conf.schema import load
from data.artifacts.errors import ConfigError
from data.sources.settings import log_settings, source_of


def test_the_settings_of_a_log_are_those_of_the_innermost_base() -> None:
    table = {"adapter": "TableSource", "missing": ["NULL"]}
    assert log_settings(table) is table
    assert log_settings({"root": "s", "base": table}) is table
    assert log_settings({"root": "s", "base": {"root": "t", "base": table}}) is table
    alone = {"root": "s", "base": None, "missing": ["undefined"]}
    assert log_settings(alone) is alone


@pytest.mark.parametrize(
    "overrides",
    [
        ["data=synthetic"],
        ["data=movielens_1m"],
        ["data=gowalla"],
        [
            "data=csv",
            "data.source.interactions=log",
            "data.source.items=items.csv",
            "data.source.item_features=[{name: brand, kind: categorical, column: Brand}]",
            "data.source.columns.context=[channel]",
            "data.source.time_unit=ms",
        ],
        [
            "data=events",
            "data/source@data.source.base=table",
            "data.source.base.format=parquet",
            "data.source.base.interactions=log",
            "data.source.base_type=click",
        ],
    ],
)
def test_a_source_comes_back_from_its_settings(overrides: list[str]) -> None:
    data = load(overrides).data
    assert source_of(data.as_json()["source"]) == data.source


def test_settings_of_another_version_are_read_as_far_as_they_go(tmp_path: Path) -> None:
    settings = load(["data=synthetic"]).data.as_json()["source"]
    assert source_of(settings | {"removed_since": 1}) == source_of(settings)
    with pytest.raises(ConfigError, match=r"data\.source: Lost is no known source"):
        source_of(settings | {"adapter": "Lost"})

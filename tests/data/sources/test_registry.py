"""A source is there for yaml as soon as its class is registered, and a name belongs to one class."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from conf.schema import load
from data.artifacts.bounds import bounded
from data.sources.source import RawLog, SourceConfig, source, sources


@source("diary")
@dataclass(kw_only=True, slots=True)
class Diary(SourceConfig):
    """A source from outside of the package."""

    pages: int = bounded(3, at_least=1)

    def read(self) -> RawLog:
        raise NotImplementedError

    def files(self) -> list[str]:
        return []


def test_the_sources_of_the_folder_register_themselves() -> None:
    assert {name: cls.__name__ for name, cls in sources().items()}.items() >= {
        ("interaction_lists", "InteractionListsSource"),
        ("movielens", "MovieLensSource"),
        ("synthetic", "SyntheticSource"),
        ("table", "TableSource"),
    }


def test_a_second_class_of_the_same_name_is_refused_and_both_are_named() -> None:
    class Notebook(SourceConfig):
        pass

    with pytest.raises(ValueError, match=r"data\.source: .*\.Diary and .*Notebook both register the name 'diary'"):
        source("diary")(Notebook)
    assert sources()["diary"] is Diary


def test_the_same_class_may_register_twice() -> None:
    assert source("diary")(Diary) is Diary


def test_a_yaml_file_and_a_class_are_all_that_a_source_needs(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    yaml = "defaults: [source: diary, _self_]\nname: diary\nsource: {pages: 5}\n"
    (tmp_path / "data" / "diary.yaml").write_text(yaml)
    config = load([f"hydra.searchpath=[file://{tmp_path}]", "data=diary"])
    assert config.data.source == Diary(pages=5)

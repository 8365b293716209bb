"""Index back ends by the name in the config: a further one is a registration, and mistakes are named."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from data.artifacts.errors import ConfigError
from serve.index.backends import INDEX_BACKENDS
from serve.index.backends.published_items import PublishedItems
from serve.index.config import IndexConfig
from serve.index.protocol import ItemIndex


async def open_nothing(config: IndexConfig, items: PublishedItems) -> ItemIndex:
    raise NotImplementedError


@pytest.fixture
def another_backend() -> Iterator[None]:
    INDEX_BACKENDS.register("another")(open_nothing)
    yield
    del INDEX_BACKENDS._entries["another"]


def test_a_further_backend_is_known_by_its_name(another_backend: None) -> None:
    assert INDEX_BACKENDS[IndexConfig(kind="another").kind] is open_nothing


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"^index\.kind: 'redis' is unknown; known are milvus, replica$"):
        IndexConfig(kind="redis")


def test_two_of_one_name_are_refused_by_the_names_of_both() -> None:
    names = r"serve\.index\.backends\.replica\.open_replica and .*open_nothing both register the name 'replica'"
    INDEX_BACKENDS["replica"]
    with pytest.raises(ConfigError, match=names):
        INDEX_BACKENDS.register("replica")(open_nothing)


def test_a_config_is_checked_without_the_libraries_of_the_backends() -> None:
    code = "import sys; from serve.index.config import IndexConfig; IndexConfig(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"faiss", "pymilvus", "ray", "torch"} & set(done.stdout.split())

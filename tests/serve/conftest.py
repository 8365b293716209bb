"""One published and promoted release, and endpoints on it."""

import pytest

from conf.schema import Config
from data.storage import Folder
from serve.promote import promote
from serve.publish import publish
from serve.release import Registry, Release
from tests.benchmarks import servers
from towers.checkpoint import Checkpoint


@pytest.fixture(scope="session")
def release(tiny: Config, checkpoint: Checkpoint) -> Release:
    """The tiny checkpoint, published to Milvus Lite and live."""
    storage = Folder.of(tiny.storage.root)
    registry = Registry.of(storage)
    return registry.open(promote(registry, publish(tiny.index, checkpoint, storage)))


@pytest.fixture(scope="session")
def free_port() -> int:
    return servers.free_port()

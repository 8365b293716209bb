"""One published and promoted release, and endpoints on it."""

import socket

import pytest

from conf.schema import Config
from data.storage import Folder
from serve.promote import promote
from serve.publish import publish
from serve.release import Registry, Release
from towers.checkpoint import Checkpoint


@pytest.fixture(scope="session")
def release(tiny: Config, checkpoint: Checkpoint) -> Release:
    """The tiny checkpoint, published to Milvus Lite and live."""
    storage = Folder.of(tiny.storage.root)
    registry = Registry.of(storage)
    return registry.open(promote(registry, publish(tiny.index, checkpoint, storage)))


@pytest.fixture(scope="session")
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""The state stores that the conformance suites open, and the servers that they need."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import redis

from serve.events.config import EventsConfig
from serve.events.protocol import StateStore
from serve.events.stores import STATE_STORES
from tests.conformance.events import Opening, config
from tests.conformance.redis_server import serving_redis


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], dict[str, Any]]]:
    """Starts what a store needs, once, and returns its part of the config."""
    started: dict[str, str] = {}
    with ExitStack() as stack:

        def start(name: str) -> dict[str, Any]:
            if name == "sqlite":
                return {"store": "sqlite", "path": str(tmp_path_factory.mktemp("state") / "new" / "events.sqlite")}
            if name not in started:
                folder = tmp_path_factory.mktemp(name)
                started[name] = stack.enter_context(serving_redis(folder, cluster=name == "cluster"))
            with redis.Redis.from_url(started[name]) as client:
                client.flushall()
            return {"store": "redis", "uri": started[name], "cluster": name == "cluster"}

        yield start


@pytest.fixture(params=["sqlite", "redis", "cluster"])
def opening(request: pytest.FixtureRequest, servers: Callable[[str], dict[str, Any]]) -> Iterator[Opening]:
    """Opens the same store again and again, as several replicas do."""
    values: EventsConfig = config(**servers(request.param), history=5, state_ms=2000, accept_ms=5000)
    opened: list[StateStore] = []

    def open_store() -> StateStore:
        opened.append(STATE_STORES[values.store](values))
        return opened[-1]

    yield open_store
    for store in opened:
        store.close()


@pytest.fixture
def store(opening: Opening) -> StateStore:
    return opening()

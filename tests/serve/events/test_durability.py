"""A Redis is asked with its own password, and refused, before it accepts any, where it may forget events."""

from pathlib import Path

import pytest
from redis import Redis

from serve.events.protocol import Outcome, StoreUnavailable
from serve.events.redis_store.store import RedisStore
from tests.conformance.events import config, event
from tests.conformance.redis_server import serving_redis

ON_DISK = ("--appendonly", "yes", "--appendfsync", "always")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--appendonly", "no"), r"may lose accepted events .*appendonly no, .*set appendonly yes"),
        (("--appendonly", "yes", "--appendfsync", "everysec"), r"may lose accepted events .*appendfsync everysec"),
        ((*ON_DISK, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"), r"set maxmemory-policy noeviction"),
        ((*ON_DISK, "--maxmemory", "100mb", "--maxmemory-policy", "volatile-ttl"), r"set maxmemory-policy noeviction"),
    ],
)
def test_what_may_forget_is_refused_unless_that_is_meant(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    with serving_redis(tmp_path, *options) as uri:
        with pytest.raises(StoreUnavailable, match=said):
            RedisStore(config(store="redis", uri=uri)).append([event("1")])
        meant = RedisStore(config(store="redis", uri=uri, check_durability=False))
        assert meant.append([event("1")]) == [Outcome.accepted]
        meant.close()


@pytest.mark.parametrize("options", [("--maxmemory", "100mb"), ("--maxmemory-policy", "allkeys-lru")])
def test_what_removes_nothing_is_taken(tmp_path: Path, options: tuple[str, ...]) -> None:
    with serving_redis(tmp_path, *ON_DISK, *options) as uri:
        store = RedisStore(config(store="redis", uri=uri))
        assert store.append([event("1")]) == [Outcome.accepted]
        store.close()


@pytest.mark.parametrize(
    ("password", "variables"),
    [
        ("pw", {"EVENTS_REDIS_PASSWORD": "pw", "REDIS_PASSWORD": "of another Redis"}),
        ("pw", {"REDIS_PASSWORD": "pw"}),
        ("", {"EVENTS_REDIS_PASSWORD": "", "REDIS_PASSWORD": "of another Redis"}),
    ],
)
def test_the_redis_of_events_has_a_password_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str, variables: dict[str, str]
) -> None:
    """On the head of a RayService REDIS_PASSWORD is that of the Redis that keeps the head's state."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with serving_redis(tmp_path, *ON_DISK) as uri:
        Redis.from_url(uri).config_set("requirepass", password)
        store = RedisStore(config(store="redis", uri=uri))
        assert store.append([event("1")]) == [Outcome.accepted]
        store.close()

"""The connection to Redis: time-outs, errors in our words, and whether what Redis has taken is on its disk."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.retry import Retry

from data.artifacts.secrets import FILE_SUFFIX, recordable, secret, without_passwords
from serve.events.config import EVENTS_PASSWORD, EventsConfig
from serve.events.protocol import StoreUnavailable

COMMON_PASSWORD = "REDIS_PASSWORD"
"""The secret with the password where EVENTS_PASSWORD is not set. On the head of a RayService, KubeRay sets it to that
of the Redis that keeps the state of the head, whatever the Secret of the other variables says."""

KEEPS_ALL = "noeviction"
"""The policy by which a Redis whose memory is full refuses to write, and removes nothing."""


def connect(config: EventsConfig, timeout_s: float) -> Any:
    """Returns a client whose calls each take at most about `timeout_s` seconds, and are not repeated by themselves.

    Raises:
        redis.RedisError: A cluster cannot be reached. A single Redis is connected with the first call.
    """
    options: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "decode_responses": True,
        "password": password(),
    }
    if config.cluster:
        return RedisCluster.from_url(config.uri, cluster_error_retry_attempts=1, **options)
    return redis.Redis.from_url(config.uri, retry=Retry(NoBackoff(), 0), **options)


def password() -> str | None:
    """Returns the password of the Redis that keeps events; None where it has none, as an empty EVENTS_PASSWORD says.

    Raises:
        ConfigError: the file that holds it cannot be read.
    """
    is_own = EVENTS_PASSWORD in os.environ or f"{EVENTS_PASSWORD}{FILE_SUFFIX}" in os.environ
    return secret(EVENTS_PASSWORD if is_own else COMMON_PASSWORD) or None


def check_durability(client: Any, uri: str) -> None:
    """Refuses a Redis that may forget what it has answered for. One that does not tell its settings is trusted.

    Raises:
        StoreUnavailable: It does not write each command to its disk before it answers, or makes room by removing keys.
    """
    try:
        found = client.config_get("append*", "maxmemory*")
    except redis.ResponseError:  # hosted ones forbid CONFIG
        return
    if (found.get("appendonly"), found.get("appendfsync")) != ("yes", "always"):
        raise StoreUnavailable(
            f"events.uri: {recordable(uri)} may lose accepted events when it dies (appendonly"
            f" {found.get('appendonly')}, appendfsync {found.get('appendfsync')}): set appendonly yes and appendfsync"
            " always, or events.check_durability=false"
        )
    policy = found.get("maxmemory-policy", KEEPS_ALL)
    if found.get("maxmemory", "0") != "0" and policy != KEEPS_ALL:
        raise StoreUnavailable(
            f"events.uri: {recordable(uri)} removes accepted events, or the ids by which each counts once, when its"
            f" memory is full (maxmemory {found['maxmemory']}, maxmemory-policy {policy}): set maxmemory-policy"
            f" {KEEPS_ALL}, or events.check_durability=false"
        )


@contextmanager
def translated(uri: str) -> Iterator[None]:
    """Turns the errors of redis-py into StoreUnavailable."""
    try:
        yield
    except (redis.RedisError, OSError) as e:
        if isinstance(e, StoreUnavailable):
            raise
        said = f"events.uri: {recordable(uri)}: {type(e).__name__}: {e}"
        raise StoreUnavailable(without_passwords(said, [f"={uri}"])) from e

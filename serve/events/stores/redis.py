"""`events.store=redis`: one Redis, or a Redis cluster, for replicas on several machines."""

from serve.events.config import EventsConfig
from serve.events.protocol import StateStore
from serve.events.stores import STATE_STORES


@STATE_STORES.register("redis")
def open_redis(config: EventsConfig) -> StateStore:
    """Connects to `events.uri` with the first call."""
    from serve.events.redis_store.store import RedisStore

    return RedisStore(config)

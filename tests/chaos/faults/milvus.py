"""What can be wrong with a Milvus, and with the way to it."""

from collections.abc import Iterator

from tests.chaos.world import World, fault


@fault
def milvus_stopped(world: World) -> Iterator[None]:
    """Milvus refuses connections."""
    world.milvus.refuse()
    try:
        yield
    finally:
        world.milvus.refuses = False


@fault
def milvus_blackholed(world: World) -> Iterator[None]:
    """Milvus takes requests and never answers."""
    world.milvus.swallows = True
    try:
        yield
    finally:
        world.milvus.swallows = False


@fault
def milvus_slow(world: World) -> Iterator[None]:
    """Milvus answers half a second late."""
    world.milvus.delay_s = 0.5
    try:
        yield
    finally:
        world.milvus.delay_s = 0.0


@fault
def milvus_empty(world: World) -> Iterator[None]:
    """Milvus has lost everything: another one that holds no collection answers in its place."""
    full = world.milvus.target
    world.milvus.lead_to(*world.empty_milvus)
    try:
        yield
    finally:
        world.milvus.lead_to(*full)

"""What can be wrong with the machine."""

from collections.abc import Iterator

from tests.chaos.world import World, fault

JUMP_S = 120


@fault
def clock_jumps(world: World) -> Iterator[None]:
    """The clock of the machine jumps, forwards or back, and then jumps back."""
    assert world.clock is not None
    world.clock.shift(world.random.choice((-JUMP_S, JUMP_S)))
    try:
        yield
    finally:
        world.clock.shift(0)


@fault
def memory_pressure(world: World) -> Iterator[None]:
    """The endpoint's processes keep no page that the kernel can take back from them."""
    assert world.memory is not None
    with world.memory.squeezed():
        yield

"""Where the time of a start goes: the seconds of each step, from the start of this process on."""

import time

import psutil


class StepTimes:
    """The seconds of the steps of a start, in their order.

    Example:
        times = StepTimes()
        connect(config.cluster)
        times.end("Ray")
        print(f"ready after {times}")  # ready after 7.2 s (command 2.1, Ray 5.1)

    Args:
        first: what this process has done until now.
    """

    def __init__(self, first: str = "command") -> None:
        self.seconds = {first: time.time() - psutil.Process().create_time()}
        self._ended = time.monotonic()

    def end(self, step: str) -> None:
        """Ends a step, which began when the one before ended."""
        now = time.monotonic()
        self.seconds[step] = self.seconds.get(step, 0.0) + now - self._ended
        self._ended = now

    def __str__(self) -> str:
        steps = ", ".join(f"{step} {seconds:.1f}" for step, seconds in self.seconds.items())
        return f"{sum(self.seconds.values()):.1f} s ({steps})"

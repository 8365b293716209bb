"""The numbered headings of the demonstration's output."""

import time


class Headings:
    """Prints numbered headings with the seconds since the start."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._number = 0

    def __call__(self, heading: str) -> None:
        """Prints the next heading."""
        self._number += 1
        print(f"\n[{self._number}] {heading}  ({time.perf_counter() - self._started:.0f} s)", flush=True)

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return round(time.perf_counter() - self._started, 1)

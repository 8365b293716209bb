"""Points at which a process of a crash test may die: before and after each call that changes something outside."""

import functools
import os
import signal
from collections.abc import Callable
from typing import Any


class Points:
    """Counts the points that are passed, and dies at one."""

    def __init__(self, fatal: int) -> None:
        self.passed, self._fatal = 0, fatal

    def __call__(self) -> None:
        self.passed += 1
        if self.passed == self._fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def counted(*arguments: Any, **named: Any) -> Any:
            self()
            try:
                return call(*arguments, **named)
            finally:
                self()

        return counted

"""Output of commands for people: tables, lines about the progress of a long task, and waiting until they stop it."""

import signal
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

ProgressReporter = Callable[[str], None]
"""A function that takes one line about the progress of a long task, such as `print`."""


def show(what: "RenderableType") -> None:
    """Prints a table or text as it stands, 120 columns wide if the output is not a terminal.

    Texts in brackets and between colons, which values, titles and reasons may hold, are no markup of rich's.
    """
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 120, markup=False, emoji=False).print(what)


def wait_for_stop() -> None:
    """Blocks until Ctrl-C or SIGTERM."""
    stop_asked().wait()


def stop_asked() -> threading.Event:
    """Returns what is set by Ctrl-C or SIGTERM, which end nothing by themselves from now on."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop

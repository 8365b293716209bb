"""Output of commands for people: tables, and lines about the progress of a long task."""

import sys
from collections.abc import Callable

from rich.console import Console, RenderableType

ProgressReporter = Callable[[str], None]
"""A function that takes one line about the progress of a long task, such as `print`."""


def show(what: RenderableType) -> None:
    """Prints a table or text, 120 columns wide if the output is not a terminal."""
    Console(width=None if sys.stdout.isatty() else 120).print(what)

"""What commands print for people: tables, and lines that tell how far a long task has come."""

import sys
from collections.abc import Callable

from rich.console import Console, RenderableType

ProgressReporter = Callable[[str], None]
"""Takes one line about the progress of a long task, such as `print`."""


def show(what: RenderableType) -> None:
    """Prints a table or text; 120 columns wide where the output is no terminal."""
    Console(width=None if sys.stdout.isatty() else 120).print(what)

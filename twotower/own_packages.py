"""Finds the packages of this distribution first, in a process that runs one of its commands.

They are called `data`, `towers`, `serve` and `conf`. Python looks in the folder where one stands before it looks into
installed distributions, and Ray puts that folder before them in its workers too. Somebody's `data/__init__.py` there
would be taken for ours. Only a process that runs one of our commands, and what it starts, looks here first; any other
process of the environment finds what it always found.

An installed distribution brings the file twotower.pth, which Python reads at each start. It calls `find_first_if_meant`
where the command line has `-m`, or the environment the variable below.
"""

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

OWN = ("data", "towers", "serve", "conf")
"""The packages of this distribution that have names which others may have too."""

VARIABLE = "TWOTOWER_FINDS_ITSELF_FIRST"
"""Environment variable that is set in a process that runs a command of ours, and so in the processes that it starts."""

SHIPPED = "shipped"
"""Its value in workers to which our packages were sent: those stand on PYTHONPATH, and go before installed ones."""

ROOT = Path(__file__).parents[1]
"""The folder that this distribution is installed in."""


class OwnPackages:
    """An import hook that finds the packages of OWN in ROOT alone, or first where they were sent to."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The package, where it is one of ours; None leaves the name to Python's own hooks."""
        if name not in OWN:
            return None
        sent = os.environ.get("PYTHONPATH", "") if os.environ.get(VARIABLE) == SHIPPED else ""
        return PathFinder.find_spec(name, [*filter(None, sent.split(os.pathsep)), str(ROOT)])


def find_first() -> None:
    """Makes this process and those that it starts find our packages first."""
    os.environ.setdefault(VARIABLE, "1")
    if OwnPackages not in sys.meta_path and (ROOT / "data").is_dir():
        sys.meta_path.insert(0, OwnPackages)


def find_first_if_meant() -> None:
    """The same, if this process was started by another that does so, or runs `python -m` with a command of ours."""
    if VARIABLE in os.environ or _names_our_command(sys.orig_argv):
        find_first()


def _names_our_command(arguments: Sequence[str]) -> bool:
    """Whether Python was started with `-m` and a module that is ours, and that the folder where one stands has not."""
    if "-m" not in arguments[:-1]:
        return False
    module = arguments[arguments.index("-m") + 1]
    return module.partition(".")[0] in OWN and _has(ROOT, module) and not _has(Path(), module)


def _has(folder: Path, module: str) -> bool:
    path = folder.joinpath(*module.split("."))
    return path.with_name(f"{path.name}.py").is_file() or (path / "__main__.py").is_file()

"""Ends with status 0 if this interpreter has a package as pyproject.toml pins it: `installed.py torch`."""

import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def main(name: str) -> int:
    """Returns the exit status; a local part of the version, such as +cpu, does not count."""
    pins = re.findall(rf'"{name}==([\w.]+)"', (Path(__file__).parents[1] / "pyproject.toml").read_text())
    try:
        return int(version(name).partition("+")[0] not in pins)
    except PackageNotFoundError:
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

"""Resolves the pinned dependencies for each platform and Python by metadata alone: `make pins`.

uv reads the metadata of wheels for platforms other than its own; pip evaluates the markers of the machine that it runs
on. Nothing is installed. Prints one line for each, and ends with status 1 if one does not resolve from wheels, or takes
a package that constraints.txt does not pin; otherwise with status 3 if no package index was reached for one.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLATFORMS = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "aarch64-apple-darwin")
PYTHONS = ("3.11", "3.12", "3.13")
FROM_SOURCE = "antlr4-python3-runtime"
"""The one package without a wheel."""

OF_TORCH = re.compile(r"(cuda|nvidia)-|triton$")
"""The CUDA packages, which torch pins itself, build by build."""

NOT_REACHED = re.compile(r"Failed to fetch|Request failed after|network was disabled|error sending request")
"""What uv says where a package index does not answer."""

UNREACHED = "no package index was reached"


def resolve(platform: str, python: str) -> str | None:
    """Returns what is wrong with this platform and Python; None if all is well."""
    command = [
        *(sys.executable, "-m", "uv", "pip", "compile", "-q", "--all-extras", "--no-header", "--no-annotate"),
        *("--python-platform", platform, "--python-version", python, "-c", "constraints.txt"),
        *("--only-binary", ":all:", "--no-binary", FROM_SOURCE, "pyproject.toml"),
    ]
    environment = {**os.environ, "MACOSX_DEPLOYMENT_TARGET": "14.0", "UV_PYTHON_DOWNLOADS": "never"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    if done.returncode:
        said = " ".join(done.stderr.split())
        return f"{UNREACHED}: {said}" if NOT_REACHED.search(said) else said
    taken = {name(line) for line in done.stdout.splitlines() if "==" in line}
    unpinned = sorted(n for n in taken - pinned() if not OF_TORCH.match(n))
    return f"constraints.txt does not pin {', '.join(unpinned)}; add them" if unpinned else None


def pinned() -> set[str]:
    """The packages of constraints.txt, by their normalised names."""
    return {name(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}


def name(requirement: str) -> str:
    """The name of `Name==1.0 ; marker`, normalised as PEP 503 says."""
    return re.sub(r"[-_.]+", "-", requirement.split("==")[0].strip()).lower()


def main() -> int:
    """Checks all; returns the exit status."""
    wanted = list(product(PLATFORMS, PYTHONS))
    with ThreadPoolExecutor(2) as pool:
        problems = list(pool.map(lambda one: resolve(*one), wanted))
    for (platform, python), problem in zip(wanted, problems, strict=True):
        print(f"{platform}, Python {python}: {problem or 'resolves from wheels'}")
    return status(problems)


def status(problems: Iterable[str | None]) -> int:
    """Returns the exit status: 1 for a set that does not resolve, 3 where it could not be asked for, 0 otherwise."""
    found = [problem for problem in problems if problem]
    if all(problem.startswith(UNREACHED) for problem in found):
        return 3 if found else 0
    return 1


if __name__ == "__main__":
    sys.exit(main())

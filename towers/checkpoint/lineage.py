"""Lineage of a model: the commit of the code, the versions of libraries, and the W&B run."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

LIBRARIES = ("torch", "ray", "numpy", "pyarrow")


def lineage(wandb: dict[str, str] | None) -> dict[str, Any]:
    """The lineage as JSON; values are null where the code is in no git repository, or nothing was tracked.

    Args:
        wandb: project and run, if the training was tracked.
    """
    return {
        "commit": _git("rev-parse", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "wandb": wandb,
        "versions": {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES},
    }


def _git(*arguments: str) -> str | None:
    """The output of a git command in the repository of this code; None where it fails."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None

"""Recommenders that are compared with, run by the interpreter of their own environment (`make peers`)."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.harness.tables import FOLDER

SCRIPTS = Path(__file__).parents[1] / "peers"
PYTHON = Path(__file__).parents[3] / ".venv-peers" / "bin" / "python"


def save_interactions(users: np.ndarray, items: np.ndarray) -> Path:
    """Where peers read the log from: an .npz file with int64 `users` and `items`."""
    file = FOLDER / "interactions.npz"
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, users=users.astype(np.int64), items=items.astype(np.int64))
    return file


def run_peer(script: str, file: Path, *arguments: object) -> dict[str, Any]:
    """What a script in peers/ prints last, as JSON."""
    command = [PYTHON, SCRIPTS / f"{script}.py", file.resolve(), *arguments]
    found = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True, cwd=file.parent)
    return json.loads(found.stdout.strip().splitlines()[-1])

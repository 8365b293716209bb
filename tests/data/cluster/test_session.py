"""The Ray session that a command works in."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data.cluster.machine import process_start
from data.cluster.own_sessions import KEPT, MARK, tidy

REPOSITORY = Path(__file__).parents[3]
WORKERS_CODE = """
import ray
from data.cluster.ray_compatibility.serve import runtime_env
from data.cluster.session import ClusterConfig, connect

def imported() -> str:
    import data
    return data.__file__

connect(ClusterConfig(num_cpus=1, dashboard=False), runtime_env=runtime_env(64))
print(ray.get(ray.remote(imported).remote(), timeout=120))
"""


@pytest.mark.slow
def test_workers_of_a_clone_that_was_moved_import_its_code(tmp_path: Path) -> None:
    """The environment's installation names another folder, as it does once a clone was moved or copied."""
    clone = tmp_path / "clone"
    for package in ("data", "serve"):
        shutil.copytree(REPOSITORY / package, clone / package, ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [sys.executable, "-c", WORKERS_CODE], cwd=clone, check=True, capture_output=True, text=True, timeout=300
    )
    assert done.stdout.split()[-1] == str(clone / "data" / "__init__.py")


STARTS_AND_ENDS = """
import os, ray, sys
from data.cluster.session import ClusterConfig, connect

connect(ClusterConfig(num_cpus=1, dashboard=False))
haproxys = os.path.dirname(os.environ["RAY_SERVE_HAPROXY_CONFIG_FILE_LOC"])
folder = os.path.join(haproxys, ray.get_runtime_context().get_node_id())
os.makedirs(folder)
print(ray.get(ray.remote(lambda: "it ran").remote(), timeout=120), folder)
sys.exit(3)
"""


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path is short enough for the sockets of a Ray."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="r") as folder:
        yield Path(folder)


def made(folder: Path, name: str, mark: dict[str, Any] | None) -> Path:
    """A session as a Ray leaves it, with the mark of who started it."""
    session = folder / f"session_{name}"
    for inside in ("logs", "sockets", "runtime_resources"):
        (session / inside).mkdir(parents=True)
        (session / inside / "file").touch()
    (session / "ports.json").touch()
    if mark is not None:
        (session / MARK).write_text(json.dumps(mark))
    return session


def left(session: Path) -> set[str]:
    return {path.name for path in session.iterdir()}


def test_sessions_of_processes_that_are_gone_keep_their_logs_and_nothing_else(
    tmp_path: Path, short_folder: Path
) -> None:
    gone = {"pid": 2**22 + 1, "started": "1", "node_id": "a" * 56, "socket": str(tmp_path / "none")}
    own = {**gone, "pid": os.getpid(), "started": process_start(os.getpid())}
    others = made(tmp_path, "2026-01-01_00", None)
    running = made(tmp_path, "2026-01-02_00", own)
    with socket.socket(socket.AF_UNIX) as raylet:
        raylet.bind(str(short_folder / "raylet"))
        raylet.listen()
        elsewhere = made(tmp_path, "2026-01-03_00", {**gone, "socket": str(short_folder / "raylet")})
        ended = [made(tmp_path, f"2026-02-{day:02d}_00", gone) for day in range(1, KEPT + 3)]
        before = left(others)
        tidy(tmp_path)
    assert left(others) == before, "nobody knows who started it"
    assert left(running) == left(elsewhere) == before | {MARK}
    assert not any(session.exists() for session in ended[:2])
    assert all(left(session) == {"logs", MARK} for session in ended[2:])
    assert (ended[-1] / "logs" / "file").exists()
    tidy(tmp_path, own=running)
    assert left(running) == {"logs", MARK}, "it began first, and ended last"
    assert not ended[2].exists()


@pytest.mark.slow
def test_a_ray_that_was_started_here_leaves_its_logs_alone(short_folder: Path) -> None:
    haproxy = short_folder / "haproxy"
    files = {f"RAY_SERVE_HAPROXY_{name}": f"{haproxy}/file" for name in ("CONFIG_FILE_LOC", "SOCKET_PATH")}
    done = subprocess.run(
        [sys.executable, "-c", STARTS_AND_ENDS],
        cwd=REPOSITORY,
        env={**os.environ, **files, "RAY_TMPDIR": str(short_folder)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 3, done.stderr
    assert "it ran" in done.stdout
    assert done.stderr == ""
    (session,) = (path for path in (short_folder / "ray").glob("session_2*"))
    assert left(session) == {"logs", MARK}
    assert list((session / "logs").iterdir())
    assert not list(haproxy.iterdir())

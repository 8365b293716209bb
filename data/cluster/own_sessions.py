"""What a Ray that this process started leaves on the disk: it goes when the process ends, but for its logs.

Ray removes neither the folder of a session nor that of HAProxy, which hold sockets, ports and packages of code. A
session that was started here has a mark in its folder, which names the process that started it. At its end that process
empties its own session, and those of processes of the same user that were killed before they could; the logs of the
latest KEPT sessions remain. A folder without a mark, such as that of `ray start`, is never touched.
"""

import atexit
import json
import os
import shutil
import socket
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from data.artifacts.json_text import json_text
from data.cluster.machine import process_start
from data.cluster.processes import is_process_alive
from data.cluster.ray_compatibility.leftovers import haproxy_folders, stop_ray

MARK = "started_by_twotower.json"
"""The file in the folder of a session that names the process that started it."""

LOGS = "logs"
"""The folder of a session that is kept for people who look for the cause of a crash."""

KEPT = 10
"""Sessions whose logs are kept."""


def tidy_at_exit(started: Mapping[str, Any]) -> None:
    """Marks the session that this process has just started, and has its folders go when the process ends.

    Args:
        started: `address_info` of what `ray.init` returned.
    """
    session, pid = Path(started["session_dir"]), os.getpid()
    mark = {
        "pid": pid,
        "started": process_start(pid),
        "node_id": started["node_id"],
        "socket": started["raylet_socket_name"],
    }
    (session / MARK).write_text(json_text(mark))
    atexit.register(partial(_end, session, pid))


def _end(session: Path, pid: int) -> None:
    """Stops Ray, unless it has been stopped, and tidies up."""
    if os.getpid() != pid:  # a fork, which has inherited this
        return
    stop_ray()
    tidy(session.parent, session)


def tidy(folder: Path, own: Path | None = None) -> None:
    """Empties the sessions that were started by processes that are gone, and keeps the logs of the latest ones.

    Args:
        folder: Ray's folder in the temporary folder of the system.
        own: a session of this process, which has ended.
    """
    marks = [mark for mark in folder.glob(f"session_2*/{MARK}") if _is_ours(mark)]
    ended = sorted(mark.parent for mark in marks if mark.parent == own or not _is_alive(mark))
    for session in ended:
        with suppress(OSError, ValueError):  # another process that ends tidies it up too
            _empty(session)
    for session in sorted(ended, key=_ended_at)[:-KEPT]:
        shutil.rmtree(session, ignore_errors=True)


def _ended_at(session: Path) -> float:
    """When a session was emptied, in unix seconds."""
    try:
        return (session / MARK).stat().st_mtime
    except OSError:
        return 0.0


def _empty(session: Path) -> None:
    """Removes what a session has beside its logs and its mark, and the folder of its HAProxy."""
    leftovers = [path for path in session.iterdir() if path.name not in (LOGS, MARK)]
    if leftovers:
        (session / MARK).touch()
    for path in leftovers:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    for path in haproxy_folders(json.loads((session / MARK).read_text())["node_id"]):
        shutil.rmtree(path, ignore_errors=True)


def _is_ours(mark: Path) -> bool:
    try:
        return mark.stat().st_uid == os.getuid()
    except OSError:
        return False


def _is_alive(mark: Path) -> bool:
    """Whether the process that started a session runs, or its raylet answers, as to a process in another container."""
    try:
        of = json.loads(mark.read_text())
        if is_process_alive(of["pid"], of["started"]):
            return True
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(of["socket"].removeprefix("unix://"))
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # it cannot be told, so it is left alone
        return True
    return True

"""Which process is meant by what another one has recorded: its id alone is in use again before long.

A process records its id with its `process_start` and, where other machines read the record too, with its host name and
its `pid_namespace` (data/cluster/machine.py).
"""

import os
import socket

from data.cluster.machine import pid_namespace, process_start


def is_this_host(host: str, namespace: str | None) -> bool:
    """Whether processes of that host name and namespace can be looked up by their ids here.

    Args:
        namespace: what `pid_namespace` says there; None where that was not recorded. Containers often share a host name
            and each count their processes from 1.
    """
    return host == socket.gethostname() and namespace == pid_namespace()


def is_process_alive(pid: int, started: str | float | None = None) -> bool:
    """Whether a process of that id runs on this machine.

    Args:
        started: its `process_start`, by which it is told from another process that has its id now; None if unknown. A
            number, which earlier versions recorded, is a time by a clock that may have been set since: it counts as
            unknown too.
    """
    try:
        os.kill(pid, 0)  # signal 0 only checks whether the process exists
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, and belongs to another user
        pass
    found = process_start(pid) if isinstance(started, str) else None
    return found is None or found == started

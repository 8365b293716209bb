"""Stops a Ray that this process started, so that nothing writes into its folders, and knows those of HAProxy."""

import os
from pathlib import Path

IN_HAPROXYS_FOLDER = {
    "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": "/tmp/haproxy-serve/haproxy.cfg",
    "RAY_SERVE_HAPROXY_SOCKET_PATH": "/tmp/haproxy-serve/admin.sock",
    "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": "/tmp/haproxy-serve/server-state",
    "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": "/tmp/haproxy-serve/metrics.sock",
}
"""Environment variables that say where Ray Serve keeps files of HAProxy, with its defaults: it puts each one into a
folder beside it that is named after the node. Ray's own constants take seconds to import."""


def haproxy_folders(node_id: str) -> set[Path]:
    """The folders of the HAProxy of one node.

    Args:
        node_id: the node's id in hexadecimal digits, as Ray has it.
    """
    int(node_id, 16)  # nothing else may become a part of a path that is removed
    paths = (os.environ.get(name, default) for name, default in IN_HAPROXYS_FOLDER.items())
    return {Path(path).parent / node_id for path in paths}


def stop_ray() -> None:
    """Stops Ray as it stops by itself when the process ends, and waits until its processes are gone.

    As Ray does then, it first lets what workers print arrive.
    """
    import ray

    if ray.is_initialized():
        ray.shutdown(wait_for_processes=True, _exiting_interpreter=True)

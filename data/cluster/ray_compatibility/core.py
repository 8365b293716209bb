"""Makes a Ray that this process starts listen on loopback alone, and finds the client of the Serve that runs on it."""

from typing import Any


def listen_on_loopback() -> None:
    """Makes a Ray that this process starts listen on 127.0.0.1; call it before `ray.init`.

    On Linux, Ray replaces 127.0.0.1 by the machine's own address (resolve_ip_for_localhost in Ray's services.py) unless
    clusters are disabled. Ray decides that when it is imported, by the variable RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER.
    """
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = False


def serve_client(must_run: bool = True) -> Any:
    """The client of the Serve that runs on this Ray; None where none runs and none must.

    Its `deploy_apps` takes a Serve config without Ray's dashboard.
    """
    from ray.serve.context import _get_global_client

    return _get_global_client(raise_if_no_controller_running=must_run)

"""Makes a Ray that this process starts listen on loopback alone, and finds those that run and the Serve on one."""

from typing import Any


def listen_on_loopback() -> None:
    """Makes a Ray that this process starts listen on 127.0.0.1, or join one that does; call it before `ray.init`.

    On Linux, Ray replaces 127.0.0.1 by the machine's own address (resolve_ip_for_localhost in Ray's services.py) unless
    clusters are disabled. Ray decides that when it is imported, by the variable RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER.
    """
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = False


def running_rays() -> list[str]:
    """The addresses (host:port) of the Rays whose processes run on this machine, sorted."""
    from ray._private import services

    return sorted(services.find_gcs_addresses())


def started_ray() -> str | None:
    """The address that the last `ray start` on this machine has left; None where there is none."""
    from ray._private import services

    found: str | None = services.find_bootstrap_address(None)
    return found


def own_address(host: str) -> str:
    """The host by which Ray calls a host: for loopback the machine's own address, unless `listen_on_loopback` was."""
    from ray._private import services

    found: str = services.resolve_ip_for_localhost(host)
    return found


def serve_client(must_run: bool = True) -> Any:
    """The client of the Serve that runs on this Ray; None where none runs and none must.

    Its `deploy_apps` takes a Serve config without Ray's dashboard.
    """
    from ray.serve.context import _get_global_client

    return _get_global_client(raise_if_no_controller_running=must_run)

"""A Ray that this process starts listens on loopback alone."""


def listen_on_loopback() -> None:
    """Has a Ray that this process starts listen on 127.0.0.1; call it before `ray.init`.

    Ray on Linux takes the machine's address for 127.0.0.1 (services.py, resolve_ip_for_localhost), except where
    clusters are off, which the variable RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER decides when Ray is imported.
    """
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = False

"""Stops Ray Serve without the error that Ray prints where its own `serve.shutdown` stops it.

That one waits on a call which the controller never answers: it ends when the controller is killed, and then Ray tells
every driver "Task ServeController.graceful_shutdown failed. There are infinite retries remaining". Here the controller
is asked to stop, and looked up until it is gone.
"""

import time

import ray
from ray import serve
from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE
from ray.serve.context import _disconnect, _get_global_client

TIMEOUT_S = 30.0
"""Seconds within which the controller is expected to stop: what Ray waits."""

LOOK_EVERY_S = 0.05


def stop_serve() -> None:
    """Stops all applications of Ray Serve, its proxies and its controller.

    What has not stopped within TIMEOUT_S is left to Ray's own function, which waits as long again and then warns.
    """
    client = _get_global_client(raise_if_no_controller_running=False)
    if client is None:
        return
    client.shutdown_cached_handles()
    ends = time.monotonic() + TIMEOUT_S
    try:
        ray.get(client._controller.graceful_shutdown.remote(wait=False), timeout=TIMEOUT_S)
        while time.monotonic() < ends:
            ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE)
            time.sleep(LOOK_EVERY_S)
    except (ValueError, ray.exceptions.RayActorError):  # it is gone
        _disconnect()
        return
    except ray.exceptions.GetTimeoutError:
        pass
    serve.shutdown()

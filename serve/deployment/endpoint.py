"""The endpoint on this machine: starts Ray Serve on the live release, watches canaries, and stops again."""

import json
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ray import serve
from ray.serve.config import HTTPOptions, ProxyLocation, gRPCOptions
from ray.serve.exceptions import RayServeException
from ray.serve.schema import LoggingConfig

from data.artifacts.errors import UserError
from data.artifacts.folders import Folder
from data.cluster.console import ProgressReporter
from serve.access.exposure import check_access
from serve.api.grpc_service import SERVICER
from serve.deployment.declared import APPLICATION, LOGGING, absolute, absolute_auth
from serve.deployment.deployments import build_application
from serve.deployment.endpoint_config import EndpointConfig
from serve.deployment.settings import ServeConfig
from serve.deployment.stages import ReplicaSettings
from serve.index.connection import milvus_address
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import ReleaseError
from serve.rollout.guard import CanaryGuard


class PortInUse(UserError, OSError):
    """Another process listens on a port that the endpoint needs."""


@contextmanager
def running_endpoint(config: EndpointConfig, progress: ProgressReporter = print) -> Iterator[str]:
    """Runs the endpoint as long as the block lasts, and yields its address once it is ready. Needs a Ray session.

    Raises:
        ReleaseError: No release is live, or the endpoint does not come up.
        PortInUse: Another process listens on one of its ports.
        IndexUnavailable: Milvus cannot be reached.
        ConfigError, KeyFileError: See `check_access`.
    """
    check_access(config.auth, config.serve.host)
    live = ReleaseRegistry.of(Folder.of(config.storage.root)).live()
    if live is None:
        raise ReleaseError("no release is live: run python -m serve.publish, then python -m serve.promote")
    for name in ("port", "grpc_port"):
        check_port(config.serve, name)
    address = f"http://{config.serve.host}:{config.serve.port}"
    progress(f"serve: starting {config.serve.topology.value} on {address}, release {live.release}")
    with milvus_address(config.index):
        http = HTTPOptions(host=config.serve.host, port=config.serve.port, location=ProxyLocation.EveryNode)
        serve.start(http_options=http, grpc_options=_grpc(config.serve))
        try:
            settings = ReplicaSettings(
                storage_root=absolute(config.storage.root),
                index=config.index,
                serve=config.serve,
                auth=absolute_auth(config.auth),
            )
            serve.run(
                build_application(settings), name=APPLICATION, route_prefix="/", logging_config=LoggingConfig(**LOGGING)
            )
            yield address
        except RayServeException as e:
            raise ReleaseError(f"the endpoint did not come up: {e}") from e
        finally:
            serve.shutdown()


def _grpc(config: ServeConfig) -> gRPCOptions | None:
    return gRPCOptions(port=config.grpc_port, grpc_servicer_functions=[SERVICER]) if config.grpc_port else None


def check_port(config: ServeConfig, name: str) -> None:
    """Raises PortInUse if another process listens on the port of this config key (`port` or `grpc_port`)."""
    port = getattr(config, name)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.host, port))
        except OSError as e:
            raise PortInUse(
                f"serve.{name}: {config.host}:{port} is in use ({e.strerror}); pass serve.{name}=..."
            ) from e


@contextmanager
def watching_canaries(config: EndpointConfig) -> Iterator[None]:
    """Watches the releases of a running experiment as long as the block lasts, unless `guard.enabled` is false."""
    if not config.guard.enabled:
        yield
        return
    stop = threading.Event()
    guard = CanaryGuard(config.guard, Folder.of(config.storage.root))
    thread = threading.Thread(target=guard.watch, args=(stop.wait,), name="guard")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def curl(address: str, user_id: str = "u00042") -> str:
    """Returns a shell command that asks the endpoint for recommendations."""
    body = json.dumps({"user_id": user_id, "k": 5})
    return f"curl -s {address}/v1/recommend -H 'content-type: application/json' -d '{body}'"


def wait_for_stop() -> None:
    """Blocks until Ctrl-C or SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()

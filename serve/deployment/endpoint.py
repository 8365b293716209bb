"""The endpoint on this machine: started on the live release, watched, and stopped."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from ray import serve
from ray.serve.config import HTTPOptions, ProxyLocation, gRPCOptions
from ray.serve.exceptions import RayServeException
from ray.serve.schema import EncodingType, LoggingConfig

from data.artifacts.errors import UserError
from data.artifacts.folders import Folder, StorageConfig
from data.cluster.console import ProgressReporter
from serve.api.grpc_service import SERVICER
from serve.deployment.deployments import build
from serve.deployment.settings import ServeConfig
from serve.deployment.stages import Setting
from serve.experiments.canary_analysis import GuardConfig
from serve.index.config import IndexConfig
from serve.index.connection import reached
from serve.releases.registry import Registry
from serve.releases.release import ReleaseError
from serve.rollout.guard import Guard

APPLICATION = "recommender"

LOGGING = LoggingConfig(encoding=EncodingType.JSON, log_level="WARNING", enable_access_log=False)
"""JSON lines (serve/observability/logs.py), warnings alone: metrics count the answers; a line each would cost as much as a stage, and
at level INFO Ray Serve makes one even where it writes none."""


class PortInUse(UserError, OSError):
    """A port that the endpoint is to listen on is taken."""


class EndpointConfig(Protocol):
    """What an endpoint is started with, as the root config holds it."""

    @property
    def storage(self) -> StorageConfig: ...
    @property
    def index(self) -> IndexConfig: ...
    @property
    def serve(self) -> ServeConfig: ...
    @property
    def guard(self) -> GuardConfig: ...


@contextmanager
def running(config: EndpointConfig, progress: ProgressReporter = print) -> Iterator[str]:
    """The endpoint, up and ready, as long as the block lasts; yields its address. Needs a Ray session.

    Raises:
        ReleaseError: no release is live.
        PortInUse: a port is taken.
        IndexUnavailable: Milvus cannot be reached.
    """
    live = Registry.of(Folder.of(config.storage.root)).live()
    if live is None:
        raise ReleaseError("no release is live: run python -m serve.publish, then python -m serve.promote")
    for name in ("port", "grpc_port"):
        check_port(config.serve, name)
    address = f"http://{config.serve.host}:{config.serve.port}"
    progress(f"serve: starting {config.serve.topology.value} on {address}, release {live.release}")
    with reached(config.index):
        http = HTTPOptions(host=config.serve.host, port=config.serve.port, location=ProxyLocation.EveryNode)
        serve.start(http_options=http, grpc_options=_grpc(config.serve))
        try:
            setting = Setting(storage_root=_absolute(config.storage.root), index=config.index, serve=config.serve)
            serve.run(build(setting), name=APPLICATION, route_prefix="/", logging_config=LOGGING)
            yield address
        except RayServeException as e:
            raise ReleaseError(f"the endpoint did not come up: {e}") from e
        finally:
            serve.shutdown()


def _grpc(config: ServeConfig) -> gRPCOptions | None:
    return gRPCOptions(port=config.grpc_port, grpc_servicer_functions=[SERVICER]) if config.grpc_port else None


def check_port(config: ServeConfig, name: str) -> None:
    """Raises PortInUse, naming the port and the cure, where something listens there already."""
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
def guarded(config: EndpointConfig) -> Iterator[None]:
    """Releases on trial are watched as long as the block lasts."""
    if not config.guard.enabled:
        yield
        return
    stop = threading.Event()
    guard = Guard(config.guard, Folder.of(config.storage.root))
    thread = threading.Thread(target=guard.watch, args=(stop.wait,), name="guard")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def curl(address: str, user_id: str = "u00042") -> str:
    """A line to try the endpoint with."""
    body = json.dumps({"user_id": user_id, "k": 5})
    return f"curl -s {address}/v1/recommend -H 'content-type: application/json' -d '{body}'"


def _absolute(root: str) -> str:
    return root if "://" in root else Folder.of(root).path

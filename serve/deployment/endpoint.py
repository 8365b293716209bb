"""The endpoint on this machine: starts Ray Serve on the live release, and stops again."""

import json
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
from data.cluster.machine import bind_error, choose_proxy
from data.cluster.ray_compatibility.shutdown import stop_serve
from data.cluster.session import started_here
from data.cluster.step_times import StepTimes
from serve.access.exposure import check_access
from serve.deployment.declared import APPLICATION, LOGGING, ROUTE, SERVICER
from serve.deployment.deploying import deploy, events_here, require_live
from serve.deployment.endpoint_config import EndpointConfig
from serve.deployment.in_place.beside import check_beside, others_run, remove_endpoint, serve_runs
from serve.deployment.settings import ServeConfig
from serve.events.compaction import LogCompactor
from serve.index.connection import milvus_address
from serve.observability.metrics import compaction_reporter
from serve.releases.release import ReleaseError


class PortInUse(UserError, OSError):
    """Another process listens on a port that the endpoint needs."""


@contextmanager
def running_endpoint(
    config: EndpointConfig,
    progress: ProgressReporter = print,
    declared: bool = False,
    times: StepTimes | None = None,
) -> Iterator[str]:
    """Runs the endpoint as long as the block lasts, and yields its address once it is ready. Needs a Ray session.

    Ray Serve is started and stopped with it, unless it runs there already or others have come to use it.

    Args:
        declared: whether it is started by a Serve config, by which it can be changed in place, and with its guard.
        times: is told how long Milvus, Ray Serve and the replicas take to start.

    Raises:
        ReleaseError: No release is live, or the endpoint does not come up.
        PortInUse: Another process listens on one of its ports.
        IndexUnavailable: Milvus cannot be reached.
        ConfigError, KeyFileError: See `check_access` and `check_beside`.
    """
    check_access(config.auth, config.serve.host)
    live = require_live(config)
    runs_already = check_place(config.serve)
    address = f"http://{config.serve.host}:{config.serve.port}"
    if not runs_already and (notice := choose_proxy(config.serve.ports).notice) is not None:
        progress(f"serve: {notice}")
    progress(f"serve: starting {config.serve.topology.value} on {address}, release {live}")
    times = times or StepTimes()
    with milvus_address(config.index):
        times.end("Milvus")
        if not runs_already:
            http = HTTPOptions(host=config.serve.host, port=config.serve.port, location=ProxyLocation.EveryNode)
            serve.start(http_options=http, grpc_options=_grpc(config.serve))
        times.end("Ray Serve")
        try:
            if declared:
                deploy(config, progress)
            else:
                _run(config, progress)
            times.end("replicas")
            yield address
        except RayServeException as e:
            raise ReleaseError(f"the endpoint did not come up: {e}") from e
        finally:
            _stop(runs_already)


def _stop(runs_already: bool) -> None:
    """Ends the endpoint, and Ray Serve too where it was started for it and nobody else has come to use it."""
    if runs_already or (others_run() and not started_here()):
        remove_endpoint()
    else:
        stop_serve()


def _run(config: EndpointConfig, progress: ProgressReporter) -> None:
    """Builds the endpoint in this process, without its guard: sooner there than by a Serve config."""
    from serve.deployment.deployments import build_application
    from serve.deployment.replica import ReplicaSettings

    settings = ReplicaSettings.of(config, events_here(config.events, progress))
    logging = LoggingConfig(**LOGGING)
    serve.run(build_application(settings), name=APPLICATION, route_prefix=ROUTE, logging_config=logging)


def _grpc(config: ServeConfig) -> gRPCOptions | None:
    return gRPCOptions(port=config.grpc_port, grpc_servicer_functions=[SERVICER]) if config.grpc_port else None


def check_place(config: ServeConfig) -> bool:
    """Checks that the endpoint can listen where the config says; returns whether Ray Serve runs already, and does.

    Raises:
        PortInUse: Another process listens on one of the endpoint's ports.
        ConfigError: See `check_beside`.
    """
    if serve_runs():
        check_beside(config)
        return True
    for name in ("port", "grpc_port"):
        port = getattr(config, name)
        if (error := bind_error(config.host, port)) is not None:
            raise PortInUse(
                f"serve.{name}: {config.host}:{port} is in use ({error.strerror}); pass serve.{name}=..., or"
                " cluster.address=auto to change an endpoint that serve.run has started here"
            ) from error
    return False


@contextmanager
def compacting_logs(config: EndpointConfig) -> Iterator[None]:
    """Compacts the logs of events and decisions as long as the block lasts, unless both are off."""
    if not config.events.keeps_logs:
        yield
        return
    stop = threading.Event()
    compactor = LogCompactor(config.events, Folder.of(config.storage.root), report=compaction_reporter(stop.wait))
    thread = threading.Thread(target=compactor.watch, args=(stop.wait,), name="compaction")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def curl(address: str, asks: bool, user_id: str = "u00042") -> str:
    """Returns a shell command that asks the endpoint for recommendations.

    Args:
        asks: whether callers must show who they are; the key is then that of TWOTOWER_KEY.
    """
    body = json.dumps({"user_id": user_id, "k": 5})
    key = ' -H "authorization: Bearer $TWOTOWER_KEY"' if asks else ""
    return f"curl -s {address}/v1/recommend{key} -H 'content-type: application/json' -d '{body}'"

"""Patches modules of Ray Serve as its processes import them.

- HAProxy refuses what the replicas cannot take, and answers in JSON (haproxy_template.py). Its niceness is a little
  above that of the replicas, so that it leaves them the cores under a flood.
- gRPC servers listen near by (serve_addresses.py).
- Ids of requests, and headers that Ray reads, are checked before it reads them (serve_headers.py).
- The log files of Serve's processes survive a library that configures logging (serve_logs.py).
- Processes start without importing pandas, which Ray Serve would only need to answer with data frames.
- Where Ray Serve's own proxy takes requests, it refuses by the same status, header and JSON as HAProxy; Ray answers in
  plain text.

Proxies, HAProxy's manager and replicas are workers of the job: `prepare_worker` runs in each of them as it starts.
"""

import os
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from data.artifacts.json_text import json_text
from data.cluster.machine import choose_proxy
from data.cluster.ray_compatibility.haproxy_template import TOO_MANY, patched_template
from data.cluster.ray_compatibility.serve_addresses import listen_nearby, listen_on_own_address
from data.cluster.ray_compatibility.serve_headers import (
    LONGEST_ID,
    check_context_id,
    check_headers,
    check_proxied_id,
    fitting_id,
    fresh_id,
)
from data.cluster.ray_compatibility.serve_logs import keep_logging

IN_FLIGHT = "TWOTOWER_IN_FLIGHT"
"""Environment variable with the largest number of requests in flight per ingress replica."""

DEFAULT_IN_FLIGHT = 64
"""What holds where the variable is not set: the default of `serve.ingress`."""

SETUP_HOOK = ("__RAY_WORKER_PROCESS_SETUP_HOOK_ENV_VAR", "data.cluster.ray_compatibility.serve.prepare_worker")
"""Environment variable by which every worker of a node, of any job, calls `prepare_worker` as it starts."""

NICENESS = 5
"""Niceness (lower scheduling priority) of HAProxy. At 10, refusals took 300 ms on a single core."""


def runtime_env(in_flight: int, ports: Collection[int] = ()) -> dict[str, object]:
    """The runtime environment of the Ray job that starts the endpoint: its workers patch Ray Serve as they load it.

    Args:
        in_flight: requests that one ingress replica has at most, ongoing and queued.
        ports: those of the endpoint.

    Raises:
        MachineLacks: the environment asks for HAProxy, and it does not run here.
    """
    return {
        "worker_process_setup_hook": "data.cluster.ray_compatibility.serve.prepare_worker",
        "env_vars": {IN_FLIGHT: str(in_flight), **choose_proxy(ports).environment},
    }


def prepare_worker() -> None:
    """Installs an import hook by which this process applies `PATCHES` and `WITHOUT` when it imports those modules.

    It costs next to nothing in a process that imports none of these modules.
    """
    sys.meta_path.insert(0, _Patching())


class _Patching(MetaPathFinder):
    """Finds modules as Python does, and changes those in `PATCHES` and `WITHOUT` as they are loaded."""

    def __init__(self) -> None:
        self._pending = PATCHES.keys() | WITHOUT.keys()

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in self._pending:
            return None
        self._pending.remove(name)
        spec = find_spec(name)  # calls this method once more, which then has no pending patch
        assert spec is not None, "Ray Serve has its modules where its own code imports them from"
        assert spec.loader is not None, "it is a file"
        load = spec.loader.exec_module

        def load_changed(module: ModuleType) -> None:
            with _missing(WITHOUT.get(name)):
                load(module)
            if name in PATCHES:
                PATCHES[name](module)

        spec.loader.exec_module = load_changed  # type: ignore[method-assign]
        return spec


@contextmanager
def _missing(package: str | None) -> Iterator[None]:
    """While the block lasts, an import of the package fails as if it were not installed, unless it is imported."""
    if package is None or package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]


def _refuse_in_haproxy(haproxy_templates: Any) -> None:
    template: str = haproxy_templates.HAPROXY_CONFIG_TEMPLATE
    haproxy_templates.HAPROXY_CONFIG_TEMPLATE = patched_template(
        template, int(os.environ.get(IN_FLIGHT, DEFAULT_IN_FLIGHT))
    )


def _yield_to_replicas(haproxy: Any) -> None:
    api = haproxy.HAProxyApi
    start = api._start_and_wait_for_haproxy

    async def started(self: Any, *arguments: Any, **options: Any) -> Any:
        process = await start(self, *arguments, **options)
        os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS)
        return process

    api._start_and_wait_for_haproxy = started


def _refuse_in_json(http_util: Any) -> None:
    """Has Ray Serve's own proxy refuse as HAProxy does here. Its other errors keep their text, as the `detail`."""
    as_messages = http_util.send_http_response_on_exception

    def refused(status: Any, response_started: bool) -> Any:
        messages = as_messages(status, response_started)
        if not messages:
            return messages
        overloaded = status.headers is not None  # Ray gives these to overload alone
        body = TOO_MANY if overloaded else json_text({"detail": status.message})
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        headers += [(b"retry-after", b"1")] if status.code == 503 else []
        return [
            {"type": "http.response.start", "status": status.code, "headers": headers},
            {"type": "http.response.body", "body": body.encode()},
        ]

    http_util.send_http_response_on_exception = refused


def _change_http(http_util: Any) -> None:
    _refuse_in_json(http_util)
    check_headers(http_util)


PATCHES: dict[str, Callable[[Any], None]] = {
    "ray.serve._private.haproxy": _yield_to_replicas,
    "ray.serve._private.haproxy_templates": _refuse_in_haproxy,
    "ray.serve._private.http_util": _change_http,
    "ray.serve._private.proxy_request_response": check_proxied_id,
    "ray.serve.grpc_util": check_context_id,
    "ray.serve._private.replica": listen_on_own_address,
    "ray.serve._private.default_impl": listen_nearby,
    "ray.serve._private.logging_utils": keep_logging,
}
"""Functions that patch a module once it has been imported, by the module's dotted path."""

WITHOUT = {"ray.serve._private.utils": "pandas"}
"""Optional packages that modules do without here, by the modules' dotted paths: pandas takes a process .3 s."""


def replica_name() -> str:
    """The name of this Serve replica, in characters that a file name may have."""
    from ray.serve.context import _get_internal_replica_context

    replica_id = _get_internal_replica_context().replica_id
    return f"{replica_id.deployment_id.name}-{replica_id.unique_id}"


def serve_request_id(longest: int = LONGEST_ID) -> str:
    """The request's id: its X-Request-Id, or the one that Ray Serve gave it.

    Where that is longer than `longest`, or is none (in a process that was not prepared, see `prepare_worker`), this
    returns a fresh one, and another one with each call.
    """
    from ray.serve.context import _get_serve_request_context

    return fitting_id(_get_serve_request_context().request_id, longest) or fresh_id()

"""Patches modules of Ray Serve as its processes import them.

- HAProxy refuses requests beyond those that the ingress replicas may have in progress and in their queues, within
  microseconds, by 503 with Retry-After. A refusal by a replica takes a good part of the time of an answer, and under a
  flood replicas would spend all of their core on refusals. HAProxy's own metrics count the refusals. They are not
  logged, because logging added 25 % to their cost. HAProxy's niceness is a little above that of the replicas, so that
  it leaves them the cores under a flood. It waits for a body before it passes the request on, so that bodies which come
  slowly take no place of a replica. Its statistics and metrics listen on loopback; Ray binds them to all interfaces.
- A HAProxy that has just started, and knows no replicas yet, answers 503 with Retry-After in place of 404.
- gRPC servers listen near by (serve_addresses.py).
- The log files of Serve's processes survive a library that configures logging (serve_logs.py).
- Where Ray Serve's own proxy takes requests, it refuses by the same status, header and JSON as HAProxy; Ray answers in
  plain text.

Proxies, HAProxy's manager and replicas are workers of the job: `prepare_worker` runs in each of them as it starts.
"""

import os
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from data.artifacts.json_text import json_text
from data.cluster.machine import choose_proxy
from data.cluster.ray_compatibility.serve_addresses import listen_nearby, listen_on_own_address
from data.cluster.ray_compatibility.serve_logs import keep_logging

IN_FLIGHT = "TWOTOWER_IN_FLIGHT"
"""Environment variable with the largest number of requests in flight per ingress replica."""

DEFAULT_IN_FLIGHT = 64
"""What holds where the variable is not set: the default of `serve.ingress`."""

METRICS_HOST = "TWOTOWER_HAPROXY_METRICS_HOST"
"""Environment variable with the address on which HAProxy's metrics listen, so that a Prometheus elsewhere may scrape
them; loopback unless it is set."""

SETUP_HOOK = ("__RAY_WORKER_PROCESS_SETUP_HOOK_ENV_VAR", "data.cluster.ray_compatibility.serve.prepare_worker")
"""Environment variable by which every worker of a node, of any job, calls `prepare_worker` as it starts."""

NICENESS = 5
"""Niceness (lower scheduling priority) of HAProxy. At 10, refusals took 300 ms on a single core."""

ROUTING = "    # Static routing based on path prefixes in decreasing length then alphabetical order\n"

WAIT_FOR_BODY_S = 5

BUFFER_BYTES = 96 * 1024
"""HAProxy waits for bodies as far as its buffer goes: for all but those of many events (serve/api/limits.py)."""

WAIT_FOR_BODY = f"""    http-error status 408 content-type application/json string \
'{{"detail":"request body: not complete after {WAIT_FOR_BODY_S} s; send it faster"}}'
    http-request wait-for-body time {WAIT_FOR_BODY_S}s if METH_POST
"""

TOO_MANY = '{"detail":"more requests than the replicas can take; try again"}'
"""The body of the answer to a request for which there is no room."""

REFUSAL = (
    """{%- for backend in backends %}
    http-request set-var(txn.room) nbsrv(NAME),mul(IN_FLIGHT)SHARED if is_NAME
    http-request set-log-level silent if is_NAME { be_conn(NAME),sub(txn.room) ge 0 }
    http-request return status 503 content-type application/json hdr Retry-After 1 string \
'TOO_MANY' if is_NAME { be_conn(NAME),sub(txn.room) ge 0 }
{%- endfor %}
""".replace("NAME", "{{ backend.name or 'unknown' }}")
    .replace("TOO_MANY", TOO_MANY)
    .replace(
        "SHARED",
        "{%- set hosts = backend.servers | map(attribute='host') | unique | list %}"
        "{%- set nodes = hosts | length if '127.0.0.1' in hosts or '::1' in hosts else 1 %}"
        ",add({{ nodes - 1 }}),div({{ nodes }})",
    )
)
"""Rules that refuse what exceeds the replicas' room. Each node's proxy admits its share of it: where replicas run on
this node too, which Ray calls by loopback, and on others, each of these nodes has a proxy. (A proxy on a head without
replicas admits all of it: it may be the only one.)
"""

UNKNOWN_PATH = "\nbackend default_backend\n"
NOT_READY = """{%- if not backends %}
    http-request return status 503 content-type application/json hdr Retry-After 1 string \
'{"detail":"the proxy has just started and knows no replicas yet; try again"}'
{%- endif %}
"""
"""What a proxy answers that knows no replicas. Ray's template says 404 then, as to a path that no application has."""

REPLACED = {
    UNKNOWN_PATH: UNKNOWN_PATH + NOT_READY,
    "    tune.bufsize {{ config.bufsize }}\n": f"    tune.bufsize {BUFFER_BYTES}\n",
    "    bind :{{ config.metrics_port }}\n": "    bind SCRAPED:{{ config.metrics_port }}\n",
    "  bind *:{{ config.stats_port }}\n": "  bind 127.0.0.1:{{ config.stats_port }}\n",
}


def runtime_env(in_flight: int) -> dict[str, object]:
    """The runtime environment of the Ray job that starts the endpoint: its workers patch Ray Serve as they load it.

    Args:
        in_flight: requests that one ingress replica has at most, ongoing and queued.

    Raises:
        MachineLacks: the environment asks for HAProxy, and it does not run here.
    """
    return {
        "worker_process_setup_hook": "data.cluster.ray_compatibility.serve.prepare_worker",
        "env_vars": {IN_FLIGHT: str(in_flight), **choose_proxy().environment},
    }


def prepare_worker() -> None:
    """Installs an import hook by which this process applies each of `PATCHES` when it imports that module.

    It costs next to nothing in a process that imports none of these modules.
    """
    sys.meta_path.insert(0, _Patching())


class _Patching(MetaPathFinder):
    """Finds modules as Python does, and patches those in `PATCHES` as they are loaded."""

    def __init__(self) -> None:
        self._pending = dict(PATCHES)

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        patch = self._pending.pop(name, None)
        if patch is None:
            return None
        spec = find_spec(name)  # calls this method once more, which then has no pending patch
        assert spec is not None, "Ray Serve has its modules where its own code imports them from"
        assert spec.loader is not None, "it is a file"
        load = spec.loader.exec_module

        def load_patched(module: ModuleType) -> None:
            load(module)
            patch(module)

        spec.loader.exec_module = load_patched  # type: ignore[method-assign]
        return spec


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


PATCHES: dict[str, Callable[[Any], None]] = {
    "ray.serve._private.haproxy": _yield_to_replicas,
    "ray.serve._private.haproxy_templates": _refuse_in_haproxy,
    "ray.serve._private.http_util": _refuse_in_json,
    "ray.serve._private.replica": listen_on_own_address,
    "ray.serve._private.default_impl": listen_nearby,
    "ray.serve._private.logging_utils": keep_logging,
}
"""Functions that patch a module once it has been imported, by the module's dotted path."""


def patched_template(template: str, in_flight: int) -> str:
    """Ray's HAProxy template with refusals added, and with statistics and metrics on loopback.

    Args:
        template: HAPROXY_CONFIG_TEMPLATE of Ray Serve.
        in_flight: requests that one ingress replica has at most, ongoing and queued.

    Raises:
        ValueError: it is not the template that the patch was written for.
    """
    refusal = REFUSAL.replace("IN_FLIGHT", str(in_flight))
    scraped = os.environ.get(METRICS_HOST, "127.0.0.1")
    for old, new in {ROUTING: WAIT_FOR_BODY + refusal + ROUTING, **REPLACED}.items():
        if template.count(old) != 1:
            raise ValueError(
                f"Ray Serve's HAProxy template has no longer one line {old.strip()!r};"
                " see data/cluster/ray_compatibility"
            )
        template = template.replace(old, new.replace("SCRAPED", scraped))
    return template


def replica_name() -> str:
    """The name of this Serve replica, in characters that a file name may have."""
    from ray.serve.context import _get_internal_replica_context

    replica_id = _get_internal_replica_context().replica_id
    return f"{replica_id.deployment_id.name}-{replica_id.unique_id}"


def serve_request_id() -> str:
    """The request's X-Request-Id, or the id that Ray Serve gave it."""
    from ray.serve.context import _get_serve_request_context

    request_id: str = _get_serve_request_context().request_id
    return request_id

"""What is changed about Ray Serve 2.60 as its processes load it; it has options for none of this.

- HAProxy: more requests in flight than the ingress replicas take (their ongoing and queued ones) are refused there, in
  microseconds: 503 with Retry-After. A replica needs a good part of an answer's time to refuse, and would spend all of
  its core on that under a flood. Refusals are counted by HAProxy's own metrics, and by no line of a log each, which
  was a quarter of what they cost. Under a flood it leaves the cores to the replicas where they are short: its
  niceness is a little above theirs. Statistics and metrics listen on loopback; Ray binds them to all interfaces.
- gRPC servers, of which those for calls between deployments take pickled requests, listen on the node's own address
  alone (loopback for a Ray that `data.cluster.session` starts); Ray binds them to all interfaces. Where gRPC comes in from
  outside, HAProxy dials replicas of its own node by loopback.

Proxies, HAProxy's manager and replicas are workers of the job, and so `prepare_worker` runs in each of them as it
starts, and has Ray's modules changed as they are imported.
"""

import os
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

IN_FLIGHT = "TWOTOWER_IN_FLIGHT"
"""Environment variable: requests in flight per ingress replica."""

EVERYWHERE = "[::]"

NICENESS = 5
"""Of HAProxy. At 10 refusals take 300 ms on a single core."""

ROUTING = "    # Static routing based on path prefixes in decreasing length then alphabetical order\n"

REFUSAL = """{%- for backend in backends %}
    http-request set-var(txn.room) nbsrv(NAME),mul(IN_FLIGHT) if is_NAME
    http-request set-log-level silent if is_NAME { be_conn(NAME),sub(txn.room) gt 0 }
    http-request return status 503 content-type application/json hdr Retry-After 1 string \
'{"detail":"more requests than the replicas can take; try again"}' if is_NAME { be_conn(NAME),sub(txn.room) gt 0 }
{%- endfor %}
""".replace("NAME", "{{ backend.name or 'unknown' }}")

LOOPBACK = {
    "    bind :{{ config.metrics_port }}\n": "    bind 127.0.0.1:{{ config.metrics_port }}\n",
    "  bind *:{{ config.stats_port }}\n": "  bind 127.0.0.1:{{ config.stats_port }}\n",
}


def runtime_env(in_flight: int) -> dict[str, object]:
    """For the Ray job that starts the endpoint."""
    return {
        "worker_process_setup_hook": "data.cluster.ray_compatibility.prepare_worker",
        "env_vars": {IN_FLIGHT: str(in_flight)},
    }


def prepare_worker() -> None:
    """Has `CHANGES` made, should this process come to import what they are made to; costs others nothing."""
    sys.meta_path.insert(0, _Changing())


class _Changing(MetaPathFinder):
    """Finds modules as Python does, and changes those of `CHANGES` as they are loaded."""

    def __init__(self) -> None:
        self._left = dict(CHANGES)

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        change = self._left.pop(name, None)
        if change is None:
            return None
        spec = find_spec(name)  # comes by here again, and finds nothing left to do
        assert spec is not None, "Ray Serve has its modules where its own code imports them from"
        assert spec.loader is not None, "it is a file"
        load = spec.loader.exec_module

        def load_changed(module: ModuleType) -> None:
            load(module)
            change(module)

        spec.loader.exec_module = load_changed  # type: ignore[method-assign]
        return spec


def _refuse_in_haproxy(haproxy_templates: Any) -> None:
    template: str = haproxy_templates.HAPROXY_CONFIG_TEMPLATE
    haproxy_templates.HAPROXY_CONFIG_TEMPLATE = changed(template, int(os.environ[IN_FLIGHT]))


def _yield_to_replicas(haproxy: Any) -> None:
    api = haproxy.HAProxyApi
    start = api._start_and_wait_for_haproxy

    async def started(self: Any, *arguments: Any, **options: Any) -> Any:
        process = await start(self, *arguments, **options)
        os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS)
        return process

    api._start_and_wait_for_haproxy = started


def _listen_on_own_address(replica: Any) -> None:
    """The servers for calls between deployments."""
    add_port = replica.add_port_to_grpc_server
    replica.add_port_to_grpc_server = lambda server, address: add_port(server, address.replace(EVERYWHERE, _own()))


def _listen_near(default_impl: Any) -> None:
    """The servers for gRPC from outside, which HAProxy stands in front of."""
    add_address = default_impl.add_grpc_address

    def add_near(server: Any, address: str) -> None:
        for host in sorted({"127.0.0.1", _own()}):
            add_address(server, address.replace(EVERYWHERE, host))

    default_impl.add_grpc_address = add_near


def _own() -> str:
    import ray.util

    address: str = ray.util.get_node_ip_address()
    return address


CHANGES: dict[str, Callable[[Any], None]] = {
    "ray.serve._private.haproxy": _yield_to_replicas,
    "ray.serve._private.haproxy_templates": _refuse_in_haproxy,
    "ray.serve._private.replica": _listen_on_own_address,
    "ray.serve._private.default_impl": _listen_near,
}
"""What is done to each module."""


def changed(template: str, in_flight: int) -> str:
    """Ray's template with the changes.

    Raises:
        ValueError: it is not the template that these changes were made for.
    """
    refusal = REFUSAL.replace("IN_FLIGHT", str(in_flight))
    for old, new in {ROUTING: refusal + ROUTING, **LOOPBACK}.items():
        if template.count(old) != 1:
            raise ValueError(
                f"Ray Serve's HAProxy template has no longer one line {old.strip()!r}; see data/cluster/ray_compatibility.py"
            )
        template = template.replace(old, new)
    return template

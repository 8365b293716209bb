"""HAProxy in front of the replicas, as Ray Serve 2.60 sets it up, and what is changed about that.

- More requests in flight than the ingress replicas take (their ongoing and queued ones) are refused here, in
  microseconds: 503 with Retry-After. A replica needs a good part of an answer's time to refuse, and would spend all of
  its core on that under a flood.
- Statistics and metrics listen on loopback; Ray binds them to all interfaces.

Ray has options for neither (`TEMPLATES`). Its HAProxy manager is one of the job's workers,
and so `prepare_worker`, which runs in each of them as it starts, changes the template of the configuration there.
"""

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

TEMPLATES = "ray.serve._private.haproxy_templates"

IN_FLIGHT = "TWOTOWER_IN_FLIGHT"
"""Environment variable: requests in flight per ingress replica."""

ROUTING = "    # Static routing based on path prefixes in decreasing length then alphabetical order\n"

REFUSAL = """{%- for backend in backends %}
    http-request set-var(txn.room) nbsrv(NAME),mul(IN_FLIGHT) if is_NAME
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
    return {"worker_process_setup_hook": "serve.front.prepare_worker", "env_vars": {IN_FLIGHT: str(in_flight)}}


def prepare_worker() -> None:
    """Changes the template, should this process come to write HAProxy's configuration; costs others nothing."""
    sys.meta_path.insert(0, _Changing())


class _Changing(MetaPathFinder):
    """Finds the module of the template as Python does, and changes it as it is loaded."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != TEMPLATES:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        assert spec is not None, "Ray Serve has its templates where its own code imports them from"
        assert spec.loader is not None, "it is a file"
        load = spec.loader.exec_module

        def load_changed(module: ModuleType) -> None:
            load(module)
            template: str = vars(module)["HAPROXY_CONFIG_TEMPLATE"]
            vars(module)["HAPROXY_CONFIG_TEMPLATE"] = changed(template, int(os.environ[IN_FLIGHT]))

        spec.loader.exec_module = load_changed  # type: ignore[method-assign]
        return spec


def changed(template: str, in_flight: int) -> str:
    """Ray's template with the changes.

    Raises:
        ValueError: it is not the template that these changes were made for.
    """
    refusal = REFUSAL.replace("IN_FLIGHT", str(in_flight))
    for old, new in {ROUTING: refusal + ROUTING, **LOOPBACK}.items():
        if template.count(old) != 1:
            raise ValueError(f"Ray Serve's HAProxy template has no longer one line {old.strip()!r}; see serve/front.py")
        template = template.replace(old, new)
    return template

"""Runs Prometheus beside an endpoint on this machine, and shows the panels in a page: `python -m serve.watch`.

It needs Prometheus on the PATH (Debian: apt-get install prometheus), and no Grafana.

Examples:
    python -m serve.watch
"""

import threading
from typing import TYPE_CHECKING, Any

from data.cluster.console import wait_for_stop
from serve.operations.monitoring.page import page_server
from serve.operations.monitoring.prometheus import running_prometheus

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Serves the page until Ctrl-C."""
    watch = config.watch
    with running_prometheus(watch, config.manifests.objectives) as prometheus:
        server = page_server(prometheus, watch.port, watch.minutes)
        threading.Thread(target=server.serve_forever, name="page", daemon=True).start()
        address = f"http://127.0.0.1:{watch.port}"
        print(f"watch: {address} (Prometheus: {prometheus.address}). Stop with Ctrl-C.", flush=True)
        wait_for_stop()
        server.shutdown()
    return {"address": address}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.watch")

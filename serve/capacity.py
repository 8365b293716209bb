"""Says what an endpoint needs: `python -m serve.capacity capacity.items=20e6 capacity.users=50e6 capacity.rps=5000`.

It prints replicas, nodes, memory, the cost of a month and what binds, and the overrides by which `serve.manifests`
provides for it. serve/operations/sizing/plan.py has the formula; conf/capacity has the machines and their prices.

Examples:
    python -m serve.capacity capacity.items=20e6 capacity.users=50e6 capacity.rps=5000 capacity.p99_ms=50
    python -m serve.capacity capacity.rps=2000 nodes.types.server.instance=c7i.4xlarge nodes.types.server.cpus=16
"""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from data.cluster.console import show

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Prints the plan."""
    from serve.operations.sizing.config import Measured
    from serve.operations.sizing.plan import plan
    from serve.operations.sizing.table import overrides, plan_table

    needed = plan(config.capacity, config.nodes, config.index.exact_up_to)
    show(plan_table(needed, config.capacity))
    if config.capacity.measured == Measured():
        print("An estimate: set capacity.measured to what a replica takes on a node of yours (docs/operators.md)")
    print(f"Provide for it by: python -m serve.manifests {' '.join(overrides(needed, config.nodes))} ...")
    return {name: value for name, value in asdict(needed).items() if name != "node"} | {"machine": needed.node.instance}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.capacity")

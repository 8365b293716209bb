"""Says what an endpoint needs: `python -m serve.capacity capacity.items=20e6 capacity.users=50e6 capacity.rps=5000`.

It prints replicas, nodes, memory, the cost of a month and what binds, and the overrides by which the other commands
provide for it. serve/operations/sizing/plan.py has the formula; conf/capacity has what was measured.
"""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from data.cluster.console import show

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Prints the plan."""
    from serve.operations.sizing.plan import plan
    from serve.operations.sizing.table import overrides, plan_table

    needed = plan(config.capacity, config.nodes, config.index.exact_up_to)
    show(plan_table(needed, config.capacity))
    most = config.nodes.types[needed.node_type].max_workers
    if needed.nodes > most:
        print(f"nodes.types.{needed.node_type}.max_workers is {most}: raise it")
    print(f"Provide for it by: {' '.join(overrides(needed))}")
    return asdict(needed)


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.capacity")

"""A capacity plan for people."""

import math

from rich.table import Table

from serve.operations.nodes import NodesConfig
from serve.operations.sizing.config import CapacityConfig
from serve.operations.sizing.plan import Plan


def plan_table(needed: Plan, asked: CapacityConfig) -> Table:
    """Returns the plan as a table."""
    catalogue = f"{asked.items:g} items, {asked.users:g} users"
    table = Table(title=f"{asked.rps:g} requests per second, {catalogue}, p99 {asked.p99_ms:g} ms")
    table.add_column("what")
    table.add_column("needed", justify="right")
    table.add_column("because")
    for row in _rows(needed, asked):
        table.add_row(*row)
    return table


def _rows(needed: Plan, asked: CapacityConfig) -> list[tuple[str, str, str]]:
    node = needed.node
    return [
        (
            "replicas",
            f"{needed.replicas}",
            f"{needed.request_cpu_ms:.1f} ms of CPU a request, at most {needed.busy:.0%} busy for the p99",
        ),
        (
            f"nodes ({node.instance})",
            f"{needed.nodes}",
            f"{needed.replicas_per_node} a node, {asked.spare_nodes} to spare; {needed.binds} binds",
        ),
        ("memory of a replica", f"{needed.replica_mib / 1024:.1f} GiB", f"{asked.releases} releases"),
        (
            "memory of a node",
            f"{needed.node_mib / 1024:.1f} GiB",
            f"its replicas, and the index files that they share; it has {node.memory_gib:g} GiB",
        ),
        (
            "a training",
            f"{needed.training_hours:.1f} h",
            f"{asked.examples:g} positives on one node; {asked.trainings_per_month} a month",
        ),
        ("cost per month", f"{needed.cost_per_month:,.0f}", "nodes, head and trainings, at the prices of the config"),
    ]


def overrides(needed: Plan, nodes: NodesConfig) -> list[str]:
    """Returns the overrides by which `serve.manifests` provides for the plan.

    A replica asks for as many CPUs that a node takes no more replicas than it has memory for.
    """
    key, node = f"nodes.types.{needed.node_type}", needed.node
    num_cpus = math.floor(100 * node.cpus / needed.replicas_per_node) / 100
    found = [f"serve.ingress.num_cpus={num_cpus:g}", f"serve.ingress.max_replicas={needed.replicas}"]
    if node != nodes.types[needed.node_type]:
        found += [f"{key}.instance={node.instance}", f"{key}.cpus={node.cpus}", f"{key}.memory_gib={node.memory_gib:g}"]
        found += [f"{key}.cost_per_month={node.cost_per_month:g}"]
    return [*found, f"{key}.max_workers={max(needed.nodes, nodes.types[needed.node_type].min_workers)}"]

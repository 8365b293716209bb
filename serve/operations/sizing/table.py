"""A capacity plan for people."""

from rich.table import Table

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
    return [
        (
            "replicas",
            str(needed.replicas),
            f"{needed.request_cpu_ms:.1f} ms of CPU a request, at most {needed.busy:.0%} busy for the p99",
        ),
        (
            f"nodes ({needed.node_type})",
            str(needed.nodes),
            f"{needed.replicas_per_node} replicas a node, {asked.spare_nodes} to spare; {needed.binds} binds",
        ),
        ("memory of a replica", f"{needed.replica_mib / 1024:.1f} GiB", f"{asked.releases} releases"),
        ("memory of a node", f"{needed.node_mib / 1024:.1f} GiB", "its replicas, and the index files that they share"),
        ("a training", f"{needed.training_hours:.1f} h", f"{asked.trainings_per_month} a month"),
        ("cost per month", f"{needed.cost_per_month:,.0f}", "nodes, head and trainings, at the prices of conf/nodes"),
    ]


def overrides(needed: Plan) -> list[str]:
    """Returns the overrides by which `serve.run` and `serve.manifests` provide for the plan."""
    return [
        f"serve.ingress.max_replicas={needed.replicas}",
        "serve.ingress.num_cpus=1",
        f"nodes.types.{needed.node_type}.max_workers={needed.nodes}",
    ]

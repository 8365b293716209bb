"""The capacity formula: an example by hand, what follows from what, and what cannot be."""

import pytest

from conf.schema import load
from data.artifacts.errors import ConfigError
from serve.operations.nodes import NodesConfig, NodeType, Work
from serve.operations.sizing.config import CapacityConfig, Measured
from serve.operations.sizing.plan import MIB, Plan, plan
from serve.operations.sizing.table import overrides

MEASURED = Measured(
    request_cpu_ms=4, item_cpu_ns=20, unloaded_p99_ms=9, replica_mib=100, item_bytes=1024, user_bytes=1024,
    node_item_bytes=512, examples_per_s=1000,
)  # fmt: skip
NODES = NodesConfig(
    types={
        "server": NodeType(work=Work.serve, cpus=4, memory_gib=2, max_workers=9, cost_per_month=100),
        "trainer": NodeType(work=Work.train, cpus=8, gpus=2, memory_gib=64, cost_per_month=730),
    }
)


def needed(exact_up_to: int = 50_000, nodes: NodesConfig = NODES, **asked: float) -> Plan:
    whole = {"items": 50_000, "users": 50_000, "rps": 1000, "p99_ms": 20, "examples": 7.2e6, **asked}
    return plan(CapacityConfig(measured=MEASURED, **whole), nodes, exact_up_to)  # type: ignore[arg-type]


def test_an_example_by_hand() -> None:
    """4 + 1 ms of CPU; a slowest hundredth of 9 + 1 ms may be half busy; 1000 x 5 ms / .5 = 10 replicas, 3 a node."""
    plan = needed()
    assert (plan.request_cpu_ms, plan.busy) == (pytest.approx(5), pytest.approx(0.5))
    assert (plan.replicas, plan.replicas_per_node, plan.nodes, plan.binds) == (10, 3, 5, "CPU")
    release_mib = 100_000 * 1024 / MIB
    assert plan.replica_mib == pytest.approx(100 + 2 * release_mib)
    assert plan.node_mib == pytest.approx(3 * plan.replica_mib + 2 * 50_000 * 512 / MIB)
    assert plan.training_hours == pytest.approx(1)
    assert plan.cost_per_month == pytest.approx(5 * 100 + NODES.head.cost_per_month + 30 * 1)


def test_what_is_more_needs_more() -> None:
    plain = needed()
    assert needed(rps=2000).replicas == 2 * plain.replicas
    assert needed(p99_ms=15).replicas > plain.replicas
    assert needed(users=500_000).replica_mib > plain.replica_mib
    assert needed(exact_up_to=10).request_cpu_ms < plain.request_cpu_ms, "an inverted file compares a part"


def test_memory_may_bind() -> None:
    plan = needed(users=600_000)
    assert (plan.binds, plan.replicas_per_node) == ("memory", 1)
    assert plan.nodes == plan.replicas + 1


def test_the_cheapest_nodes_are_taken() -> None:
    large = NodeType(work=Work.serve, cpus=64, memory_gib=64, max_workers=9, cost_per_month=150)
    plan = needed(nodes=NodesConfig(types={**NODES.types, "large": large}))
    assert (plan.node_type, plan.nodes) == ("large", 2)


def test_what_cannot_be_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match=r"capacity\.p99_ms: 8 is not above the 10\.0 ms"):
        needed(p99_ms=8)
    with pytest.raises(
        ConfigError, match=r"capacity\.items: a replica needs .* GiB, which no node that serves has \(server 2"
    ):
        needed(items=5e6, users=5e6, p99_ms=500)
    with pytest.raises(ConfigError, match=r"capacity\.rps: -1"):
        CapacityConfig(rps=-1)


def test_the_overrides_that_it_says_are_taken() -> None:
    plan = needed()
    config = load(overrides(plan))
    assert config.serve.ingress.max_replicas == plan.replicas
    assert config.nodes.types["server"].max_workers == plan.nodes

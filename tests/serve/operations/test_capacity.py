"""The capacity formula: an example by hand, what follows from what, and what cannot be."""

import math
from dataclasses import replace

import pytest

from conf.schema import load
from data.artifacts.errors import ConfigError
from serve.capacity import task
from serve.operations.fitting import refuse_unfit
from serve.operations.nodes import NodesConfig, NodeType, Work
from serve.operations.sizing.config import CapacityConfig, Machine, Measured
from serve.operations.sizing.plan import MIB, Plan, plan
from serve.operations.sizing.table import overrides

MEASURED = Measured(
    request_cpu_ms=4, proxy_cpu_ms=1, item_cpu_ns=20, inverted_cpu_ms=0.5, inverted_root_us=1, unloaded_p99_ms=9,
    waiting=1, replica_mib=100, item_bytes=768, user_bytes=1024, vector_bytes=256, inverted_bytes=72,
    examples_per_s=1000,
)  # fmt: skip
NODES = NodesConfig(
    types={
        "server": NodeType(work=Work.serve, cpus=4, memory_gib=2, max_workers=9, cost_per_month=100),
        "trainer": NodeType(work=Work.train, cpus=8, gpus=2, memory_gib=64, cost_per_month=730),
    }
)
EXACT_UP_TO = 50_000


def needed(nodes: NodesConfig = NODES, measured: Measured = MEASURED, **asked: object) -> Plan:
    whole = {"items": 50_000, "users": 50_000, "rps": 1000, "p99_ms": 20, "examples": 7.2e6, **asked}
    return plan(CapacityConfig(measured=measured, **whole), nodes, EXACT_UP_TO)  # type: ignore[arg-type]


def test_an_example_by_hand() -> None:
    """4 + 1 ms of CPU; with a slowest hundredth of 9 + 1 ms a replica may be half busy; 1000 x 5 ms / .5 is 10
    replicas; 4 x .9 cores hold 3 that take 1.2 each with HAProxy."""
    plan = needed()
    assert (plan.request_cpu_ms, plan.busy) == (pytest.approx(5), pytest.approx(0.5))
    assert (plan.replicas, plan.replicas_per_node, plan.nodes, plan.binds) == (10, 3, 5, "CPU")
    release_mib = 100_000 * 1024 / MIB
    assert plan.replica_mib == pytest.approx(100 + 2 * release_mib)
    assert plan.node_mib == pytest.approx(3 * plan.replica_mib)
    assert plan.training_hours == pytest.approx(1)
    assert plan.cost_per_month == pytest.approx(5 * 100 + NODES.head.cost_per_month + 30 * 1)


def test_a_large_catalogue_is_searched_by_an_inverted_file_that_a_node_has_once() -> None:
    plan = needed(items=90_000, users=1)
    assert plan.request_cpu_ms == pytest.approx(4 + 0.5 + math.sqrt(90_000) / 1000)
    assert plan.replica_mib == pytest.approx(100 + 2 * (90_000 * 768 + 1024) / MIB)
    assert plan.node_mib == pytest.approx(plan.replicas_per_node * plan.replica_mib + 2 * 90_000 * 328 / MIB)


def test_what_is_more_needs_more() -> None:
    plain = needed()
    assert needed(rps=2000).replicas == 2 * plain.replicas
    assert needed(p99_ms=15).replicas > plain.replicas
    assert needed(measured=replace(MEASURED, waiting=2)).replicas > plain.replicas
    assert needed(users=500_000).replica_mib > plain.replica_mib
    assert needed(releases=1).replica_mib < plain.replica_mib
    assert needed(spare_nodes=3).nodes == plain.nodes + 2


def test_memory_may_bind() -> None:
    plan = needed(users=600_000)
    assert (plan.binds, plan.replicas_per_node) == ("memory", 1)
    assert plan.nodes == plan.replicas + 1


def test_the_cheapest_machines_are_taken() -> None:
    large = Machine(instance="c9.large", cpus=64, memory_gib=64, cost_per_month=150)
    plan = needed(machines={"large": large, "dear": replace(large, instance="c9.dear", cost_per_month=1000)})
    assert (plan.node.instance, plan.nodes) == ("c9.large", 2)


def test_what_cannot_be_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match=r"capacity\.p99_ms: 8 is not above the 10\.0 ms"):
        needed(p99_ms=8)
    with pytest.raises(ConfigError, match=r"capacity\.items: 5e\+06 items .* take \d\d GiB .*\(c7i\.2xlarge\) has 2"):
        needed(items=5e6, users=5e6, p99_ms=500)
    with pytest.raises(ConfigError, match=r"nodes\.types: no node type is to serve; nodes\.types has trainer"):
        needed(nodes=NodesConfig(types={"trainer": NODES.types["trainer"]}))
    for name in ("rps", "p99_ms", "items", "users"):
        for value in (-1.0, 0.0, math.inf, math.nan):
            with pytest.raises(ConfigError, match=rf"capacity\.{name}: {value}"):
                CapacityConfig(**{name: value})


@pytest.mark.parametrize("more", [(), ("capacity.items=20e6", "capacity.users=50e6", "capacity.rps=5000")])
def test_the_overrides_that_it_says_provide_for_the_plan(more: tuple[str, ...]) -> None:
    config = load(more)
    plan_ = plan(config.capacity, config.nodes, config.index.exact_up_to)
    provided = load(overrides(plan_, config.nodes))
    server, ingress = provided.nodes.types["server"], provided.serve.ingress
    assert ingress.max_replicas == plan_.replicas
    assert server.cpus // ingress.num_cpus == plan_.replicas_per_node, "no more of them than there is memory for"
    assert (server.instance, server.cpus, server.max_workers) == (plan_.node.instance, plan_.node.cpus, plan_.nodes)
    refuse_unfit(provided, provided.nodes)


def test_the_command_prints_what_binds_and_how_to_provide_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    told = task(load(["capacity.items=20e6", "capacity.users=50e6", "capacity.rps=5000", "capacity.p99_ms=50"]))
    shown = capsys.readouterr().out
    assert told["binds"] == "memory"
    for what in ("An estimate: ", "memory binds", "cost per month", f"serve.ingress.max_replicas={told['replicas']}"):
        assert what in shown, what

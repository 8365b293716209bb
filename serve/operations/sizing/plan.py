"""The capacity formula: from what is asked for to replicas, nodes, memory and cost, and what binds.

    request_cpu = request_cpu_ms + compared * item_cpu_ns        CPU time of one request
    busy        = 1 - unloaded_p99 / p99_ms                      the share of its time that a replica may be busy
    replicas    = rps * request_cpu / busy                       a replica computes on one core
    replica     = replica_mib + releases * (items * item_bytes + users * user_bytes)
    node        = releases * items * node_item_bytes             once a node, shared by its replicas
    nodes       = replicas / (replicas that a node holds, by CPU and by memory) + spare_nodes

`busy` is the M/M/1 queue's: at utilization u a percentile of the response time is 1 / (1 - u) times that of the service
time (Kleinrock, Queueing Systems I, 1975, section 3.2). Several replicas behind one proxy do better, so it is an upper
bound of what is needed.
"""

import math
from dataclasses import dataclass

from data.artifacts.errors import ConfigError
from serve.operations.nodes import NodesConfig, NodeType, Work
from serve.operations.sizing.config import CapacityConfig, Measured

MIB = 2**20
USABLE = 0.9
"""The share of a machine that replicas may use; the system and Ray keep the rest."""
HOURS_PER_MONTH = 730


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an endpoint needs.

    Attributes:
        node_type: the node type that serves.
        replicas, nodes: how many.
        replicas_per_node: how many a node holds.
        request_cpu_ms: CPU time of a request.
        busy: the share of its time that a replica may be busy for the percentile to hold.
        replica_mib, node_mib: memory of a replica, and of a node with all of its replicas.
        training_hours: of one training.
        cost_per_month: of nodes, head and trainings.
        binds: what the number of nodes follows from: CPU or memory.
    """

    node_type: str
    replicas: int
    nodes: int
    replicas_per_node: int
    request_cpu_ms: float
    busy: float
    replica_mib: float
    node_mib: float
    training_hours: float
    cost_per_month: float
    binds: str


def plan(asked: CapacityConfig, nodes: NodesConfig, exact_up_to: int) -> Plan:
    """Returns what an endpoint needs on the cheapest node type that serves.

    Args:
        exact_up_to: catalogues of more items than this are searched by an inverted file (`index.exact_up_to`).

    Raises:
        ConfigError: it cannot be: the percentile is below what a request takes, or no node holds a replica.
    """
    cpu_ms, shortest_ms = request_ms(asked.measured, asked.items, exact_up_to)
    busy = 1 - shortest_ms / asked.p99_ms
    if busy <= 0:
        raise ConfigError(
            f"capacity.p99_ms: {asked.p99_ms:g} is not above the {shortest_ms:.1f} ms that the slowest hundredth of the"
            " requests takes without load; allow more, or fewer items"
        )
    replicas = math.ceil(asked.rps * cpu_ms / 1000 / busy)
    plans = [_on(name, node, replicas, asked, nodes, (cpu_ms, busy)) for name, node in nodes.of(Work.serve).items()]
    possible = [each for each in plans if each is not None]
    if not possible:
        sizes = ", ".join(f"{name} {node.memory_gib:g} GiB" for name, node in nodes.of(Work.serve).items()) or "none"
        need = (replica_mib(asked) + node_mib(asked)) / 1024
        raise ConfigError(
            f"capacity.items: a replica needs {need:.1f} GiB, which no node that serves has ({sizes}); take larger"
            " nodes (nodes.types.*.memory_gib) or index=milvus"
        )
    return min(possible, key=lambda each: each.cost_per_month)


def request_ms(measured: Measured, items: float, exact_up_to: int) -> tuple[float, float]:
    """Returns the CPU time of a request, and the 99th percentile of its time without load, in milliseconds."""
    compared = items if items <= exact_up_to else items * measured.compared_share
    comparing_ms = compared * measured.item_cpu_ns / 1e6
    return measured.request_cpu_ms + comparing_ms, measured.unloaded_p99_ms + comparing_ms


def replica_mib(asked: CapacityConfig) -> float:
    """Returns the memory of one replica, in MiB."""
    measured = asked.measured
    release = asked.items * measured.item_bytes + asked.users * measured.user_bytes
    return measured.replica_mib + asked.releases * release / MIB


def node_mib(asked: CapacityConfig) -> float:
    """Returns the memory that a node's replicas share, in MiB."""
    return asked.releases * asked.items * asked.measured.node_item_bytes / MIB


def _on(
    name: str, node: NodeType, replicas: int, asked: CapacityConfig, nodes: NodesConfig, request: tuple[float, float]
) -> Plan | None:
    """The plan on nodes of one type; None where they do not hold a single replica."""
    by_cpu = max(int(node.cpus * USABLE), 1)
    by_memory = int((node.memory_gib * 1024 * USABLE - node_mib(asked)) // replica_mib(asked))
    if by_memory < 1:
        return None
    each = min(by_cpu, by_memory)
    count = math.ceil(replicas / each) + asked.spare_nodes
    hours, training_cost = _training(asked, nodes)
    return Plan(
        node_type=name,
        replicas=replicas,
        nodes=count,
        replicas_per_node=each,
        request_cpu_ms=request[0],
        busy=request[1],
        replica_mib=replica_mib(asked),
        node_mib=node_mib(asked) + min(each, replicas) * replica_mib(asked),
        training_hours=hours,
        cost_per_month=count * node.cost_per_month + nodes.head.cost_per_month + training_cost,
        binds="memory" if by_memory < by_cpu else "CPU",
    )


def _training(asked: CapacityConfig, nodes: NodesConfig) -> tuple[float, float]:
    """Hours of one training on one node that trains, and the cost of a month's trainings."""
    trainers = nodes.of(Work.train)
    if not trainers:
        return 0.0, 0.0
    node = min(trainers.values(), key=lambda each: each.cost_per_month)
    hours = asked.examples / (asked.measured.examples_per_s * max(node.gpus, 1)) / 3600
    return hours, asked.trainings_per_month * hours * node.cost_per_month / HOURS_PER_MONTH

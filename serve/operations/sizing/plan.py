"""The capacity formula: from what is asked for to replicas, nodes, memory and cost, and what binds.

    search   = items * item_cpu_ns                                     exact, up to index.exact_up_to items
             = inverted_cpu_ms + sqrt(items) * inverted_root_us        by an inverted file
    request  = request_cpu_ms + search                                 CPU time of one request in its replica
    p99      = (unloaded_p99_ms + search) * (1 + waiting * u / (1 - u))     where replicas are busy the share u
    replicas = rps * request / u                                       a replica computes on one core
    replica  = replica_mib + releases * (items * item_bytes + users * user_bytes + vectors of an exact search)
    node     = releases * (vectors and inverted file)                  once a node, shared by its replicas
    nodes    = replicas / (replicas that a node holds, by CPU and by memory) + spare_nodes

With `waiting` 1 the percentile is the M/M/1 queue's, where at utilization u it is 1 / (1 - u) times that of the service
time (Kleinrock, Queueing Systems I, 1975, section 3.2). Several replicas behind one proxy do better.
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
        node: the machine that it should be.
        replicas, nodes: how many.
        replicas_per_node: how many a node holds.
        request_cpu_ms: CPU time of a request in its replica.
        busy: the share of its time that a replica may be busy for the percentile to hold.
        replica_mib, node_mib: memory of a replica, and of a node with all of its replicas.
        training_hours: of one training.
        cost_per_month: of nodes, head and trainings.
        binds: what the number of nodes follows from: CPU or memory.
    """

    node_type: str
    node: NodeType
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


@dataclass(frozen=True, kw_only=True)
class _Needs:
    """What the replicas take, whatever they run on; the values are those of `Plan`.

    Attributes:
        shared_mib: memory of the files that a node's replicas share.
    """

    replicas: int
    request_cpu_ms: float
    busy: float
    replica_mib: float
    shared_mib: float


@dataclass(frozen=True, kw_only=True)
class _Training:
    """Hours of one training on one node, and the cost of a month's trainings."""

    hours: float
    cost_per_month: float


def plan(asked: CapacityConfig, nodes: NodesConfig, exact_up_to: int) -> Plan:
    """Returns what an endpoint needs on the cheapest machine that serves.

    Args:
        exact_up_to: catalogues of more items than this are searched by an inverted file (`index.exact_up_to`).

    Raises:
        ConfigError: it cannot be: the percentile is below what a request takes, or no machine holds a replica.
    """
    needs, training = _needs(asked, exact_up_to), _training(asked, nodes)
    machines = _machines(asked, nodes)
    plans = [_on(name, node, needs, training, asked, nodes) for name, node in machines]
    possible = [each for each in plans if each is not None]
    if not possible:
        largest = max((node for _, node in machines), key=lambda node: node.memory_gib)
        gib = (needs.replica_mib + needs.shared_mib) / 1024
        raise ConfigError(
            f"capacity.items: {asked.items:g} items and {asked.users:g} users take {gib:.0f} GiB for one"
            f" replica, and the largest machine ({largest.instance}) has {largest.memory_gib * USABLE:.0f} GiB for"
            " replicas; name a larger one (capacity.machines), or hold fewer releases (capacity.releases)"
        )
    return min(possible, key=lambda each: each.cost_per_month)


def search_ms(measured: Measured, items: float, exact_up_to: int) -> float:
    """Returns the CPU time of one search, in milliseconds."""
    if items <= exact_up_to:
        return items * measured.item_cpu_ns / 1e6
    return measured.inverted_cpu_ms + math.sqrt(items) * measured.inverted_root_us / 1e3


def request_ms(measured: Measured, items: float, exact_up_to: int) -> float:
    """Returns the CPU time of one request in its replica, in milliseconds."""
    return measured.request_cpu_ms + search_ms(measured, items, exact_up_to)


def most_busy(asked: CapacityConfig, exact_up_to: int) -> float:
    """Returns the share of its time that a replica may be busy for the percentile to hold.

    Raises:
        ConfigError: a request takes longer than that without any load.
    """
    shortest_ms = asked.measured.unloaded_p99_ms + search_ms(asked.measured, asked.items, exact_up_to)
    if asked.p99_ms <= shortest_ms:
        raise ConfigError(
            f"capacity.p99_ms: {asked.p99_ms:g} is not above the {shortest_ms:.1f} ms that the slowest hundredth of the"
            " requests takes without load; allow more, or fewer items"
        )
    longer = (asked.p99_ms / shortest_ms - 1) / asked.measured.waiting
    return longer / (1 + longer)


def replica_mib(asked: CapacityConfig, exact_up_to: int) -> float:
    """Returns the memory of one replica, in MiB."""
    measured = asked.measured
    item_bytes = measured.item_bytes + (measured.vector_bytes if asked.items <= exact_up_to else 0)
    release = asked.items * item_bytes + asked.users * measured.user_bytes
    return measured.replica_mib + asked.releases * release / MIB


def shared_mib(asked: CapacityConfig, exact_up_to: int) -> float:
    """Returns the memory of the files that a node's replicas share, in MiB."""
    measured = asked.measured
    shared_bytes = measured.vector_bytes + measured.inverted_bytes if asked.items > exact_up_to else 0
    return asked.releases * asked.items * shared_bytes / MIB


def _machines(asked: CapacityConfig, nodes: NodesConfig) -> list[tuple[str, NodeType]]:
    """The machines to choose from, each with the node type whose machine it would be."""
    serving = nodes.eligible("nodes", {}, Work.serve)
    name = next(iter(serving))
    further = [
        (name, NodeType(instance=m.instance, cpus=m.cpus, memory_gib=m.memory_gib, cost_per_month=m.cost_per_month))
        for m in asked.machines.values()
    ]
    return [*serving.items(), *further]


def _needs(asked: CapacityConfig, exact_up_to: int) -> _Needs:
    """What the replicas take, whatever they run on."""
    cpu_ms = request_ms(asked.measured, asked.items, exact_up_to)
    busy = most_busy(asked, exact_up_to)
    return _Needs(
        replicas=math.ceil(asked.rps * cpu_ms / 1000 / busy),
        request_cpu_ms=cpu_ms,
        busy=busy,
        replica_mib=replica_mib(asked, exact_up_to),
        shared_mib=shared_mib(asked, exact_up_to),
    )


def _on(
    name: str, node: NodeType, needs: _Needs, training: _Training, asked: CapacityConfig, nodes: NodesConfig
) -> Plan | None:
    """The plan on machines of one kind; None where they do not hold a single replica."""
    cores = 1 + asked.measured.proxy_cpu_ms / needs.request_cpu_ms  # a wholly busy replica's, and HAProxy's for it
    by_cpu = max(int(node.cpus * USABLE / cores), 1)
    by_memory = int((node.memory_gib * 1024 * USABLE - needs.shared_mib) // needs.replica_mib)
    if by_memory < 1:
        return None
    per_node = min(by_cpu, by_memory)
    count = math.ceil(needs.replicas / per_node) + asked.spare_nodes
    return Plan(
        node_type=name,
        node=node,
        replicas=needs.replicas,
        nodes=count,
        replicas_per_node=per_node,
        request_cpu_ms=needs.request_cpu_ms,
        busy=needs.busy,
        replica_mib=needs.replica_mib,
        node_mib=needs.shared_mib + min(per_node, needs.replicas) * needs.replica_mib,
        training_hours=training.hours,
        cost_per_month=count * node.cost_per_month + nodes.head.cost_per_month + training.cost_per_month,
        binds="memory" if by_memory < by_cpu else "CPU",
    )


def _training(asked: CapacityConfig, nodes: NodesConfig) -> _Training:
    """The trainings, on the cheapest node that trains; nothing where none does."""
    trainers = nodes.of(Work.train)
    if not trainers:
        return _Training(hours=0.0, cost_per_month=0.0)
    node = min(trainers.values(), key=lambda each: each.cost_per_month)
    hours = asked.examples / (asked.measured.examples_per_s * max(node.gpus, 1)) / 3600
    cost = asked.trainings_per_month * hours * node.cost_per_month / HOURS_PER_MONTH
    return _Training(hours=hours, cost_per_month=cost)

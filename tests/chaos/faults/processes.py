"""Processes of the endpoint that are killed, or hang."""

import signal
import time
from collections.abc import Iterator

import psutil

from tests.benchmarks.harness.servers import asleep, replicas
from tests.chaos.verdict import Kill
from tests.chaos.world import World, fault

DIES_WITHIN_S = 5.0

STAGES = ("UserEmbedder", "Retriever", "Reranker")


@fault
def kill_ingress(world: World) -> Iterator[None]:
    """SIGKILL of an ingress replica; the requests that it has in flight are lost with it."""
    _kill(world, replicas("Recommender"), "ingress")
    yield


@fault
def kill_stage(world: World) -> Iterator[None]:
    """SIGKILL of a replica of a stage behind the ingress: nobody may notice."""
    _kill(world, replicas(world.random.choice(STAGES)), None)
    yield


@fault
def kill_proxy(world: World) -> Iterator[None]:
    """SIGKILL of HAProxy, the one way in on this node: connections are refused until Ray has started another."""
    of_haproxy = [p for p in psutil.process_iter(["name"]) if p.info["name"] == "haproxy"]
    _kill(world, of_haproxy, "proxy")
    yield


@fault
def stage_hangs(world: World) -> Iterator[None]:
    """SIGSTOP of all replicas of a stage."""
    with asleep(world.random.choice(STAGES)):
        yield


def _kill(world: World, processes: list[psutil.Process], counted_as: str | None) -> None:
    if not processes:
        return
    killed, began = world.random.choice(processes), time.monotonic()
    killed.send_signal(signal.SIGKILL)
    psutil.wait_procs([killed], DIES_WITHIN_S)
    if counted_as is not None:
        world.kills.append(Kill(began, time.monotonic(), counted_as))

"""What operators meet over: releases that nobody opens, and somebody else's work between two steps of a command."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from data.artifacts.folders import Folder
from data.artifacts.seals import sealing
from serve.experiments.assignment import Experiment
from serve.releases.pointer import LivePointer, utc_timestamp, with_experiment
from serve.releases.registry import ReleaseRegistry
from serve.rollout.heartbeats import Heartbeat, ReplicaRegistry

WITHIN_S = 0.1


def three_releases(storage: Folder) -> ReleaseRegistry:
    """Three releases that nobody opens; `r2` is live, and `r1` was before."""
    registry = ReleaseRegistry.of(storage)
    for name in ("r1", "r2", "r3"):
        with sealing(registry.path(name), {"kind": "release", "created_at": name, "collection": name}) as staged:
            staged.write_json("rows.json", [name])
    registry.promote("r1")
    registry.promote("r2")
    return registry


def answering(registry: ReleaseRegistry, *held: str) -> None:
    """A replica that holds these releases, and follows nothing."""
    heartbeat = Heartbeat(replica="a", current=held[0], holds=dict.fromkeys(held, 1.0), lease_s=0.0)
    ReplicaRegistry.of(registry.folder).write(heartbeat)


@dataclass
class Meanwhile:
    """Somebody else's work between two steps of a command."""

    met: bool = False


def meanwhile(monkeypatch: pytest.MonkeyPatch, step: int, work: Callable[[], object]) -> Meanwhile:
    """Has somebody else do all of his work before the n-th time that a command reads or changes the pointer."""
    names, steps, found = ("live", "update_pointer"), 0, Meanwhile()
    before = {name: getattr(ReleaseRegistry, name) for name in names}

    def counted(name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == step:
                found.met = True
                with monkeypatch.context() as alone:
                    for other in names:
                        alone.setattr(ReleaseRegistry, other, before[other])
                    work()
            return before[name](*arguments)

        return call

    for name in names:
        monkeypatch.setattr(ReleaseRegistry, name, counted(name))
    return found


def pointer(registry: ReleaseRegistry) -> LivePointer:
    live = registry.live()
    assert live is not None
    return live


def experiment(**shares: float) -> Experiment:
    return Experiment("x", shares, utc_timestamp())


def begin(registry: ReleaseRegistry, begun: Experiment) -> LivePointer:
    return registry.update_pointer(lambda live: with_experiment(live, begun))  # type: ignore[arg-type]

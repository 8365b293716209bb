"""Replicas that hang or whose tasks end are replaced: of a stage, of the guard, of compaction."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from conf.schema import Config
from serve.deployment import deployments
from serve.deployment.application import WatchingReplica, _canary_guard, _log_compactor
from serve.deployment.deployments import StageReplica
from serve.deployment.stages.remote import RERANKER
from serve.releases.registry import POINTER, ReleaseRegistry
from tests.serve.deployment.answers.test_background import settings_of, until
from tests.serve.rollout.test_two_phase import registry
from tests.serve.waiting import wait_until

__all__ = ["registry"]


async def test_a_stage_that_does_not_follow_the_pointer_is_replaced(
    tiny: Config, registry: ReleaseRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployments, "replica_name", lambda: "replica")
    replica: Any = object.__new__(type("Stage", (StageReplica,), {"__del__": lambda self: None}))
    await StageReplica.__init__(replica, settings_of(tiny, registry), RERANKER)  # type: ignore[misc]
    replica.check_health()
    replica._releases.following.cancel()
    await until(lambda: not replica._releases.following.is_running)
    with pytest.raises(RuntimeError, match="follows the live pointer has ended"):
        replica.check_health()


def is_unhealthy(replica: WatchingReplica) -> bool:
    try:
        replica.check_health()
    except RuntimeError as e:
        assert "no round has ended for" in str(e)
        return True
    return False


def test_a_guard_that_hangs_is_replaced(tmp_path: Path) -> None:
    pointer = tmp_path / "releases" / POINTER
    pointer.parent.mkdir()
    os.mkfifo(pointer)  # reading waits until somebody writes
    values = {"storage": {"root": str(tmp_path)}, "guard": {"every_s": 0.01}}
    guard = WatchingReplica({"values": values}, _canary_guard, hangs_s=0.2)
    wait_until(lambda: is_unhealthy(guard), "the guard hangs")


def test_a_guard_that_waits_for_its_next_round_does_not_hang(tmp_path: Path) -> None:
    values = {"storage": {"root": str(tmp_path)}, "guard": {"every_s": 3600}}
    guard = WatchingReplica({"values": values}, _canary_guard, hangs_s=-1.0)
    try:
        wait_until(lambda: not is_unhealthy(guard), "it waits")
    finally:
        guard.stop()


def test_a_compaction_that_hangs_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = threading.Event()
    monkeypatch.setattr("serve.events.compaction.keep_decisions", lambda *_: answers.wait(60))
    values = {"storage": {"root": str(tmp_path)}, "events": {"compact_s": 0.01}}
    compaction = WatchingReplica({"values": values}, _log_compactor, hangs_s=0.2)
    wait_until(lambda: is_unhealthy(compaction), "compaction hangs")
    answers.set()
    compaction.stop()

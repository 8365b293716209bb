"""Canaries, experiments and the denylist on a running endpoint: who gets which release, and what is recorded."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from conf.schema import Config
from data.artifacts.folders import Folder
from data.sources.event_log.forgetting import logged_user
from data.sources.event_log.users import user_key
from serve.client import RecommendClient
from serve.deployment.endpoint import running_endpoint
from serve.deployment.settings import ScaleConfig, Topology
from serve.events.config import EventsConfig
from serve.experiments.assignment import CONTROL, Experiment, TrafficConfig
from serve.experiments.exposure_files import ExposureRun
from serve.releases.pointer import PointerError
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import Release
from serve.rollout.denylist import deny, read_denylist, restore
from serve.rollout.promotion import promote, split
from serve.rollout.two_phase import roll_back
from tests.serve.waiting import PATIENT, K

pytestmark = pytest.mark.slow

WITHIN_S = 60
USERS = [f"u{number:05d}" for number in range(60)]


def silent(_: str) -> None:
    pass


@pytest.fixture(scope="module")
def registry(tiny: Config, release: Release) -> Iterator[ReleaseRegistry]:
    """The live release, and a copy of it under another name."""
    registry = ReleaseRegistry.of(Folder.of(tiny.storage.root))
    registry.promote(release.id)
    shutil.copytree(release.parts.folder.path, Path(registry.path("new").path))
    yield registry
    registry.promote(release.id)
    registry.path("new").delete()


@pytest.fixture(scope="module", params=list(Topology), ids=lambda topology: topology.value)
def client(
    request: pytest.FixtureRequest,
    tiny: Config,
    registry: ReleaseRegistry,
    release: Release,
    own_events: EventsConfig,
    free_port: int,
) -> Iterator[RecommendClient]:
    scales = dict.fromkeys(("ingress", "embedder", "retriever", "reranker"), ScaleConfig(num_cpus=0.1))
    served = replace(tiny.serve, topology=request.param, port=free_port, **PATIENT, **scales)
    config = replace(tiny, serve=served, events=own_events)
    with running_endpoint(config) as address, RecommendClient(address, timeout_s=30) as client:
        yield client
    registry.promote(release.id)


def test_a_canary_has_its_users_and_a_rollback_takes_them_back(
    client: RecommendClient, tiny: Config, registry: ReleaseRegistry, release: Release
) -> None:
    before = client.recommend(user_id=USERS[0], k=K)
    assert (before.experiment, before.variant) == (None, None)
    rollout = promote(tiny.index, registry, "new", WITHIN_S, silent, percent=30)
    assert rollout.behind == []
    wanted = {user: rollout.live.experiment.assign(user) for user in USERS}  # type: ignore[union-attr]
    answers = {user: client.recommend(user_id=user, k=K) for user in USERS}
    assert {user: answer.variant for user, answer in answers.items()} == wanted
    assert set(wanted.values()) == {CONTROL, "new"}
    for user, answer in answers.items():
        assert answer.experiment == "canary-new"
        assert answer.release_id == ("new" if wanted[user] == "new" else release.id)
    batch = client.recommend_batch([{"user_id": user, "k": K} for user in USERS])
    assert [answer.variant for answer in batch] == list(wanted.values())
    assert len({answer.request_id for answer in batch}) == len(USERS), "an id for each answer"
    anonymous = client.recommend_batch([{"history": ["i00001"], "k": K}] * 40)
    assert {answer.variant for answer in anonymous} == {CONTROL, "new"}, "each member by its own id"
    nobody = {client.recommend(history=["i00001"], k=K).variant for _ in range(40)}
    assert nobody == {CONTROL, "new"}, "a request of nobody is dealt by chance"
    rollout = roll_back(registry, 2, "a test")
    assert rollout.behind == []
    after = [client.recommend(user_id=user, k=K) for user in USERS]
    assert {(answer.release_id, answer.variant) for answer in after} == {(release.id, None)}


def test_exposures_are_recorded(
    client: RecommendClient, tiny: Config, registry: ReleaseRegistry, release: Release
) -> None:
    name = f"homepage-{time.time_ns()}"
    traffic = TrafficConfig(name=name, shares={"new": 0.5})
    live = split(tiny.index, registry, traffic, WITHIN_S, silent).live
    assert isinstance(live.experiment, Experiment)
    answers = [client.recommend(user_id=user, k=K, request_id=f"{name}-{user}") for user in USERS]
    ends = time.monotonic() + 30
    while not (shown := recorded(tiny, name)) or len(shown) < len(USERS):
        assert time.monotonic() < ends, shown
        time.sleep(0.5)
    assert {row["user"] for row in shown} == {logged_user(user_key(user)) for user in USERS}
    by_request = {row["request_id"]: row for row in shown}
    for answer in answers:
        row = by_request[answer.request_id]
        assert (row["variant"], row["release_id"]) == (answer.variant, answer.release_id)
        assert row["item_ids"] == [item.id for item in answer.items]
        assert row["took_ms"] > 0
    over = split(tiny.index, registry, TrafficConfig(), WITHIN_S, silent)
    assert (over.live.experiment, over.live.release) == (None, release.id)


def recorded(tiny: Config, name: str) -> list[dict[str, object]]:
    runs = ExposureRun.all(Folder.of(tiny.storage.root), name)
    return [row for run in runs for row in run.read().table.to_pylist()]


def test_the_live_release_is_nobodys_canary(tiny: Config, registry: ReleaseRegistry, release: Release) -> None:
    with pytest.raises(PointerError, match="a share of the traffic is for others than the live release"):
        promote(tiny.index, registry, release.id, WITHIN_S, silent, percent=5)
    with pytest.raises(ValueError, match="percent: 0 must be above 0"):
        promote(tiny.index, registry, "new", WITHIN_S, silent, percent=0)


def test_what_is_withdrawn_is_in_no_answer_from_then_on(
    client: RecommendClient, tiny: Config, registry: ReleaseRegistry, release: Release
) -> None:
    def shown() -> set[str]:
        """To known users, to unknown ones, and beside other items."""
        answers = [client.recommend(user_id=user, k=20) for user in USERS[:20]]
        answers += [
            client.recommend(user_id="nobody", k=20),
            client.recommend(history=[first], k=20, exclude_seen=False),
        ]
        return {item.id for answer in [*answers, client.similar(other, k=50)] for item in answer.items}

    first, other = (item.id for item in client.recommend(user_id="nobody", k=2).items)
    assert first in shown()
    rollout = deny(registry, [first, "unheard-of"], "recalled", 10)
    assert rollout.behind == []
    assert first not in shown()
    again = deny(registry, [first], "once more", 10)
    assert again.live == rollout.live
    assert read_denylist(registry, again.live)[first]["reason"] == "recalled"
    promote(tiny.index, registry, "new", WITHIN_S, silent)
    assert first not in shown(), "of no release"
    assert restore(registry, [first, "unheard-of"], 10).behind == []
    assert first in shown()
    roll_back(registry, 2)


def test_a_withdrawal_has_its_limits(registry: ReleaseRegistry) -> None:
    with pytest.raises(ValueError, match="items: 1001 would be withdrawn, 1000 at most"):
        deny(registry, [f"i{number}" for number in range(1001)], "all of them", 10)

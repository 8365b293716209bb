"""Replicas of stages that die, stop, or compute nonsense: the staged endpoint answers all the same, and reports it."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import cycle
from pathlib import Path
from threading import Event

import httpx
import pytest
import ray
from pyarrow import fs

from conf.schema import Config
from data.artifacts.folders import MANIFEST, Folder
from data.artifacts.seals import sealing
from data.sources.event_log.users import hashed
from serve.api.schemas import RecommendResponse
from serve.client import RecommendClient
from serve.deployment.application import WatchingReplica, _canary_guard
from serve.deployment.endpoint import running_endpoint
from serve.deployment.settings import ScaleConfig, Topology
from serve.events.config import EventsConfig
from serve.releases.publish import publish
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import Release
from serve.rollout.promotion import promote
from serve.rollout.two_phase import roll_out
from tests.benchmarks.harness.servers import asleep, metrics_address, replicas
from tests.collector import Collector
from tests.serve.waiting import K, until
from towers.checkpoint.checkpoint import Checkpoint, open_checkpoint
from towers.checkpoint.tensor_files import mapped_tensors, save_tensors

pytestmark = pytest.mark.slow

CLIENTS = 4
explained = partial(until, seconds=60, explain=True)
ONE, TWO = ScaleConfig(num_cpus=0.1), ScaleConfig(num_cpus=0.1, min_replicas=2, max_replicas=2)


@pytest.fixture(scope="module")
def address(tiny: Config, release: Release, own_events: EventsConfig, free_port: int) -> Iterator[str]:
    served = replace(
        tiny.serve, topology=Topology.staged, port=free_port, timeout_ms=1000, breaker_pause_s=0.3,
        ingress=ONE, embedder=ONE, retriever=ONE, reranker=TWO,
    )  # fmt: skip
    with running_endpoint(replace(tiny, serve=served, events=own_events)) as address:
        yield address


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[RecommendClient]:
    with RecommendClient(address, timeout_s=30) as client:
        yield client


def in_retrieval_order(answer: RecommendResponse) -> bool:
    return [item.explanation.retrieval_rank for item in answer.items if item.explanation] == list(range(1, K + 1))


def test_no_request_fails_when_a_reranker_is_killed(client: RecommendClient, known_user: str) -> None:
    stop = Event()

    def ask() -> list[RecommendResponse]:
        answers = []
        while not stop.is_set():
            answers.append(client.recommend(user_id=known_user, k=K))  # raises on any answer but 200
        return answers

    with ThreadPoolExecutor(CLIENTS) as clients:
        asking = [clients.submit(ask) for _ in range(CLIENTS)]
        time.sleep(1)
        (victim, _) = replicas("Reranker")
        victim.kill()
        time.sleep(3)
        stop.set()
        answers = [answer for asked in asking for answer in asked.result()]
    assert len(answers) > 10 * CLIENTS
    assert {reason for answer in answers for reason in answer.reasons} <= {"rerank_failed", "rerank_skipped"}
    explained(client, known_user, lambda answer: not answer.degraded and len(replicas("Reranker")) == 2)


def test_retrieval_order_comes_when_the_rerankers_sleep(client: RecommendClient, known_user: str) -> None:
    with asleep("Reranker"):
        answer = explained(client, known_user, lambda answer: answer.degraded)
        assert (answer.reasons[0], answer.source, in_retrieval_order(answer)) == ("rerank_late", "towers", True)
        skipped = explained(client, known_user, lambda answer: answer.reasons == ["rerank_skipped"])
        assert in_retrieval_order(skipped), "after some late ones in a row the re-rankers are left alone"
    explained(client, known_user, lambda answer: not answer.degraded)


@pytest.fixture
def overflowing(tiny: Config, checkpoint: Checkpoint) -> str:
    """A release whose re-ranker's scores are infinite where a request comes with a context, as no golden query does."""
    storage = Folder.of(tiny.storage.root)
    folder = storage / "checkpoints" / "overflowing"
    with sealing(folder, {k: v for k, v in checkpoint.manifest.items() if k not in ("files", "fingerprint")}) as made:
        fs.copy_files(checkpoint.folder.path, made.path, checkpoint.folder.filesystem, made.filesystem)
        made.filesystem.delete_file(f"{made.path}/{MANIFEST}")
        weights = mapped_tensors(checkpoint.folder, "reranker.safetensors")
        weights["weight"][-1] = 3e38  # of the signal that speaks of the context
        weights["calibration"][0] = 1e6
        save_tensors(made, "reranker.safetensors", weights)
    return publish(tiny.index, open_checkpoint(folder), storage)


def test_nonsense_from_the_reranker_is_left_out_and_a_rollback_ends_it(
    client: RecommendClient, tiny: Config, release: Release, overflowing: str, known_user: str
) -> None:
    registry = ReleaseRegistry.of(Folder.of(tiny.storage.root))
    roll_out(registry, overflowing, 60)
    try:
        answer = explained(client, known_user, lambda answer: answer.degraded, context={"daypart": "evening"})
        assert (answer.release_id, answer.reasons) == (overflowing, ["rerank_failed"])
        assert in_retrieval_order(answer)
    finally:
        roll_out(registry, release.id, 60)
    assert explained(client, known_user, lambda answer: not answer.degraded).release_id == release.id


def test_the_guard_ends_a_canary_whose_answers_lack_something(
    client: RecommendClient, tiny: Config, release: Release, overflowing: str
) -> None:
    registry = ReleaseRegistry.of(Folder.of(tiny.storage.root))
    promote(tiny.index, registry, overflowing, 60, percent=50)
    users = cycle(release.parts.users.ids.values.to_pylist())
    watching = {"storage": {"root": tiny.storage.root}, "guard": {"every_s": 0.5, "min_requests": 100}}
    guard = WatchingReplica({"values": watching}, _canary_guard)
    try:
        ends = time.monotonic() + 60
        while registry.live().experiment is not None:  # type: ignore[union-attr]
            assert time.monotonic() < ends, registry.live()
            client.recommend(user_id=next(users), k=K, context={"daypart": "evening"})
        guard.check_health()
    finally:
        guard.stop()
    with pytest.raises(RuntimeError, match="the background job has ended"):
        guard.check_health()
    live = registry.live()
    assert live is not None
    assert (live.release, live.rolled_back) == (release.id, overflowing)
    assert live.reason is not None
    assert "of its answers degraded, control's 0.0%" in live.reason
    assert not client.recommend(user_id=next(users), k=K, context={"daypart": "evening"}).degraded


def test_metrics_count_outcomes_reasons_and_breakers_and_name_nobody(client: RecommendClient, known_user: str) -> None:
    address = metrics_address()
    wanted = (
        'ray_twotower_requests_total{.*outcome="degraded"',
        'ray_twotower_degraded_reasons_total{.*reason="rerank_late"',
        'ray_twotower_stage_ms_bucket{.*stage="rerank"',
        "ray_twotower_results_count{",
        'ray_twotower_breaker_open{.*stage="rerank"',
        "ray_twotower_release_info{.*release_id=",
    )
    ends = time.monotonic() + 30
    while missing := [name for name in wanted if not found(name, text := httpx.get(address).text)]:
        assert time.monotonic() < ends, missing  # Ray exports every ten seconds
        time.sleep(1)
    own = [line for line in text.splitlines() if line.startswith("ray_twotower")]
    assert not [line for line in own if known_user in line or "user" in line.split("{")[1].split("}")[0]]


def found(name: str, text: str) -> bool:
    start, _, end = name.partition(".*")
    return any(line.startswith(start) and end in line for line in text.splitlines())


def test_a_span_per_stage_in_the_callers_trace(address: str, collector: Collector, known_user: str) -> None:
    trace_id, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    answer = httpx.post(
        f"{address}/v1/recommend",
        json={"user_id": known_user, "k": K},
        headers={"traceparent": f"00-{trace_id}-{parent}-01"},
    )
    assert answer.status_code == 200
    spans = collector.under(parent)  # the request's own is sent last
    assert {"embed", "retrieve", "rerank"} <= {span.name for span in spans}
    assert {span.trace_id.hex() for span in spans} == {trace_id}


def test_no_header_switches_the_deadline_off(address: str, known_user: str) -> None:
    """Those by which Ray Serve lets a client set its own."""
    headers = {"x-request-timeout-seconds": "60", "x-request-disconnect-disabled": "true"}
    body = {"user_id": known_user, "k": K, "timeout_ms": 1}
    answer = httpx.post(f"{address}/v1/recommend", json=body, headers=headers, timeout=30)
    assert answer.status_code == 200
    assert answer.json()["degraded"]


def test_a_degraded_answer_is_one_line_of_json_without_the_users_id(
    client: RecommendClient, release: Release, known_user: str
) -> None:
    answer = client.recommend(user_id=known_user, k=K, timeout_ms=1, request_id="late-one")
    assert answer.degraded
    logs = Path(ray._private.worker._global_node.get_logs_dir_path()) / "serve"
    lines = [line for file in logs.glob("replica_*Recommender*.log") for line in file.read_text().splitlines()]
    (line,) = [json.loads(line) for line in lines if "late-one" in line]
    assert (line["message"], line["request_id"], line["release_id"]) == ("degraded answer", "late-one", release.id)
    assert (line["user"], line["reasons"]) == (hashed(known_user), answer.reasons)
    assert not [line for line in lines if known_user in line]

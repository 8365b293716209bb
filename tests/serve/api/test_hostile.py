"""Whatever is sent, the endpoint answers with 2xx or 4xx, and the replica lives on.

MUTATED_REQUESTS in the environment sets how many (10,000 take minutes).
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest

from serve.api.limits import MAX_BATCH, MAX_BODY_BYTES, MAX_ID
from serve.api.schemas import BatchRequest, RecommendRequest, SimilarRequest
from tests.benchmarks.harness.servers import replicas

pytestmark = pytest.mark.slow

NUM_MUTATED = int(os.environ.get("MUTATED_REQUESTS", "1000"))
NUM_EXAMPLES = 20
NUM_REFUSED = 200
TOGETHER = 8
ODD: list[Any] = [
    *(None, True, -1, 0, 10**30, 1e308, -0.5, float("nan"), float("-inf")),
    *("", "\x00", "\ud83d", "\U0001f600" * 200, "' or 1 == 1 --"),
    *([], [[]], {}, {"": {}}, ["i00001"] * 2000),
    *({"field": "year", "op": "in", "value": []}, {"not": {"not": {}}}, {"all": [{}] * 40}),
]
SETTINGS = """
[checks.negative_data_rejection]
expected-statuses = ["4xx"]
"""
PATHS = {"/v1/recommend": RecommendRequest, "/v1/recommend/batch": BatchRequest, "/v1/similar": SimilarRequest}


@pytest.fixture(autouse=True)
def no_restart(fused: tuple[str, str]) -> Iterator[None]:
    before = {replica.pid for replica in replicas()}
    assert before
    yield
    assert {replica.pid for replica in replicas()} >= before


def test_mutated_requests_get_2xx_or_4xx(fused: tuple[str, str]) -> None:
    random = Random(0)
    sent = [mutated(random) for _ in range(NUM_MUTATED)]

    async def send_all() -> list[int]:
        gate = asyncio.Semaphore(TOGETHER)
        async with httpx.AsyncClient(base_url=fused[0], timeout=30) as http:

            async def send(path: str, body: bytes) -> int:
                async with gate:
                    answer = await http.post(path, content=body, headers={"Content-Type": "application/json"})
                    return answer.status_code

            return list(await asyncio.gather(*(send(*request) for request in sent)))

    statuses = asyncio.run(send_all())
    odd = [(status, request) for status, request in zip(statuses, sent, strict=True) if not 200 <= status < 500]
    assert not odd, odd[0]
    assert {200, 422} <= set(statuses), "some mutants are good requests, some are not"


def test_a_refused_body_leaves_its_connection_to_the_next_request(fused: tuple[str, str]) -> None:
    too_long = json.dumps({"exclude": ["i00001" * 10] * 2000})
    connection = HTTPConnection(fused[0].removeprefix("http://"), timeout=10)
    for _ in range(NUM_REFUSED):
        statuses = []
        for body in (too_long, '{"k": 1}'):
            connection.request("POST", "/v1/recommend", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            statuses.append(answer.status)
            answer.read()
            assert not answer.will_close
        assert statuses == [413, 200]


def test_schemathesis_finds_nothing(fused: tuple[str, str], tmp_path: Path) -> None:
    """All of its checks but one: what a release knows (items, features to filter by) stands in no schema."""
    (tmp_path / "schemathesis.toml").write_text(SETTINGS)
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{fused[0]}/openapi.json",
        "--checks=all", "--exclude-checks=positive_data_acceptance", f"--max-examples={NUM_EXAMPLES}", "--seed=0",
        "--continue-on-failure", "--no-color",
    ]  # fmt: skip
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout[-6000:] + found.stderr[-2000:]


def mutated(random: Random) -> tuple[str, bytes]:
    """A path, and one of its examples with a few values or bytes changed."""
    path = random.choice(list(PATHS))
    example = random.choice(PATHS[path].model_config["json_schema_extra"]["examples"])  # type: ignore[index]
    body = example
    for _ in range(random.randint(0, 3)):
        body = changed(body, random)
    raw = bytearray(json.dumps(body).encode())
    for _ in range(random.choice((0, 0, 1, 5))):
        at = random.randrange(len(raw) + 1)
        raw[at : at + random.randint(0, 3)] = random.randbytes(random.randint(0, 3))
    return path, bytes(raw)


def changed(value: Any, random: Random) -> Any:
    """The value with something in it, or itself, taken out, doubled or replaced by something odd."""
    if isinstance(value, dict) and value and random.random() < 0.8:
        key = random.choice(list(value))
        rest = {name: part for name, part in value.items() if name != key}
        return rest if random.random() < 0.2 else rest | {key: changed(value[key], random)}
    if isinstance(value, list) and value and random.random() < 0.7:
        at = random.randrange(len(value))
        return [*value[:at], changed(value[at], random), *value[at:]]
    return random.choice(ODD)


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ('{"user_id": "a", "k": 0}', 422, "k"),
        ('{"user_id": "a", "k": 10000}', 422, "k"),
        ('{"user_id": "a", "kk": 1}', 422, "kk"),
        ('{"user_id": ', 422, "body"),
        ('{"history": "i1"}', 422, "history"),
        ('{"user_id": "%s"}' % ("x" * 300), 422, "user_id"),
        ('{"timeout_ms": 0}', 422, "timeout_ms"),
        ('{"filter": {"field": "nope", "op": "==", "value": 1}}', 422, "nope"),
        ('{"filter": {"field": "year", "op": "~", "value": 1}}', 422, "~"),
        ('{"filter": {"field": "year", "op": "==", "value": "1 or row > 0"}}', 422, "year"),
        ('{"exclude": ["%s"]}' % ("x" * MAX_BODY_BYTES), 413, "larger than"),
        ('batch {"requests": []}', 422, "requests"),
        ('batch {"requests": [{"k": 1}, {"k": -1}]}', 422, "k"),
        ('batch {"requests": [{}' + ", {}" * MAX_BATCH + "]}", 422, "requests"),
        ('batch {"requests": [{"filter": {}}]}', 422, "filter"),
        ('similar {"item_ids": ["what"]}', 422, "item_ids"),
        ('similar {"item_ids": ["a"], "features": {}}', 422, "either item_ids or features"),
        ('similar {"features": {"colour": "red"}}', 422, "colour"),
        ('similar {"features": {"year": "1999"}}', 422, "year"),
        ('similar {"features": {"year": 1%s}}' % ("0" * 400), 422, "year"),
    ],
)
def test_bad_requests_get_a_4xx_that_names_the_field(
    fused: tuple[str, str], body: str, status: int, field: str
) -> None:
    path = {"b": "recommend/batch", "s": "similar"}.get(body[0], "recommend")
    content = body[body.index("{") :]
    answer = httpx.post(f"{fused[0]}/v1/{path}", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    assert field in answer.text


@pytest.mark.parametrize("name", [b"x-request-id", b"serve_multiplexed_model_id", b"x-session-id", b"x-other"])
@pytest.mark.parametrize("value", [b"\xff", b"x" * 300], ids=["no text", "long"])
def test_whatever_stands_in_headers_that_ray_serve_reads(fused: tuple[str, str], name: bytes, value: bytes) -> None:
    for path in ("/healthz", "/readyz", "/v1/releases/live"):
        answer = httpx.get(f"{fused[0]}{path}", headers=[(name, value)], timeout=30)
        assert answer.status_code == 200
        assert 1 <= len(answer.headers["x-request-id"]) <= MAX_ID

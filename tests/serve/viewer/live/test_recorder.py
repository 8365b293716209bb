"""What the page keeps of the metrics of the endpoint, and how often it speaks of a problem."""

import asyncio
import gc
import time
import tracemalloc
from pathlib import Path
from typing import Any

import httpx
import pytest
from nicegui.testing.user_simulation import user_simulation

from serve.viewer.config import PageConfig
from serve.viewer.live import recorder
from serve.viewer.live.recorder import KEPT_S, MetricsRecorder
from serve.viewer.live.samples import ANSWERS, STAGE_MS
from serve.viewer.parts.elements import note
from serve.viewer.views import live, register
from tests.serve.viewer.two_releases import two_releases


def exported(num_replicas: int) -> str:
    """What a node exports: for each replica, buckets of stage times and counters of answers, with Ray's labels."""
    lines = []
    for n in range(num_replicas):
        labels = f'application="default",deployment="Ingress",replica="r{n}",WorkerId="{n:056d}",SessionName="session"'
        for stage in ("state", "queue", "retrieve", "rerank", "render", "user", "filter"):
            lines += [f'{STAGE_MS}_bucket{{{labels},stage="{stage}",le="{le}"}} 1' for le in range(15)]
            lines += [f'{STAGE_MS}_{name}{{{labels},stage="{stage}"}} 1' for name in ("sum", "count")]
        lines += [f'ray_twotower_request_ms_bucket{{{labels},le="{le}"}} 1' for le in range(13)]
        lines += [f'{ANSWERS}{{{labels},outcome="ok"}} 1']
    return "\n".join(lines) + "\n"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1_000_000.0]
    monkeypatch.setattr(recorder.time, "time", lambda: now[0])
    return now


def served(content: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, text=content)))


async def read(one: MetricsRecorder, http: httpx.AsyncClient) -> None:
    await one._read(http)


async def test_readings_share_their_labels(clock: list[float]) -> None:
    one = MetricsRecorder(PageConfig(metrics=["a"]))
    async with served(exported(8)) as http:
        await read(one, http)
        tracemalloc.start()
        for _ in range(10):
            clock[0] += 10
            await read(one, http)
        gc.collect()
        kib = tracemalloc.get_traced_memory()[0] / 1024 / 10
        tracemalloc.stop()
    first, last = one.readings[0].values, one.readings[-1].values
    assert len(first) == 8 * (7 * 2 + 13 + 1)
    assert all(a is b for a, b in zip(first, last, strict=True))
    assert kib < 100  # the labels alone would take several times as much


async def test_readings_older_than_an_hour_are_dropped_also_after_an_outage(clock: list[float]) -> None:
    one = MetricsRecorder(PageConfig(metrics=["a"]))
    async with served(exported(1)) as http:
        for _ in range(3):
            await read(one, http)
            clock[0] += 10
        clock[0] += KEPT_S
        await read(one, http)
    assert [reading.at for reading in one.readings] == [clock[0]]


async def test_a_lasting_problem_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def counted(content: object, kind: str = "note") -> Any:
        if kind == "problem":
            told.append(str(content))
        return note(content, kind)

    monkeypatch.setattr(live, "note", counted)
    viewer = two_releases(tmp_path)
    viewer.metrics._config = PageConfig(discovery=f"{tmp_path}/none.json", every_s=1)
    async with user_simulation() as user:
        register(viewer)
        await user.open("/live")
        await user.should_see("cluster.dashboard=true", retries=50)
        ends = time.monotonic() + 3.5
        while time.monotonic() < ends:
            await asyncio.sleep(0.1)
    assert len(told) == 1

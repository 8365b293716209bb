"""Waiting for an endpoint to notice."""

import time
from collections.abc import Callable
from typing import Any

from serve.api.schemas import RecommendResponse
from serve.client import RecommendClient

K = 5

PATIENT = {"timeout_ms": 20_000, "max_timeout_ms": 20_000}
"""For endpoints whose answers are compared: on a busy machine too, none is degraded because a stage was late."""


def until(
    client: RecommendClient, user: str, holds: Callable[[RecommendResponse], bool], seconds: float = 30, **fields: Any
) -> RecommendResponse:
    """The first answer of K items of which it holds; all before are answers too."""
    ends = time.monotonic() + seconds
    while not holds(answer := client.recommend(user_id=user, k=K, **fields)):
        assert time.monotonic() < ends, answer
        time.sleep(0.05)
    return answer


def wait_until(holds: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Waits until something holds."""
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, f"still not: {what}"
        time.sleep(0.1)

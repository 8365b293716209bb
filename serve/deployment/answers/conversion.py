"""Conversion of requests into the queries of a release, and which release is to blame for a refusal."""

from collections.abc import Callable
from typing import TypeVar

from serve.api.adapter import FieldError, Unknown
from serve.api.schemas import RecommendRequest
from serve.deployment.release_runtime import ReleaseRuntime

M = TypeVar("M")
Q = TypeVar("Q")


def to_query(convert: Callable[[M], tuple[Q, Unknown]], request: M, *location: str | int) -> tuple[Q, Unknown]:
    """Converts a request by a method of the request adapter; a FieldError gets its `location` in a batch."""
    try:
        return convert(request)
    except FieldError as e:
        raise FieldError((*location, *e.location), str(e)) from e


def takes(live: ReleaseRuntime, request: RecommendRequest, other: ReleaseRuntime) -> bool:
    """Whether the live release takes a request that another release has refused."""
    if live is other:
        return False
    try:
        live.adapter.query(request)
    except Exception:  # whatever the reason, the other release is no worse
        return False
    return True

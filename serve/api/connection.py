"""How the clients connect to an endpoint, show who they are, and read its answers."""

import math
import os
import re
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from serve.api.events.schemas import EventsRefused
from serve.api.problems import EVENTS_OFF, EndpointError, EventsOffError, EventsRefusedError

M = TypeVar("M", bound=BaseModel)

KEY = "TWOTOWER_KEY"
"""Environment variable with the API key or the JSON Web Token of a client that is given none."""

PRINTABLE = re.compile(r"[!-~]+")
"""The characters of a key or a token."""


def connection(address: str, timeout_s: float, key: str | None, ca_file: str | None) -> dict[str, Any]:
    """Returns the options of httpx' clients; for the arguments see `serve.client.RecommendClient`.

    Raises:
        ValueError: The address is no URL of http or https, or the key holds what no header may have.
    """
    return {
        "base_url": web_address(address),
        "timeout": timeout_s,
        "headers": authorization(key),
        "verify": True if ca_file is None else ssl.create_default_context(cafile=ca_file),
    }


def web_address(address: str) -> httpx.URL:
    """Returns the address of an endpoint; raises ValueError if it is no URL of http or https with a host."""
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL as e:
        raise ValueError(f"address: {address!r} is no URL ({e}); write it like http://localhost:8000") from e
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"address: {address!r} must begin with http:// or https://, such as http://localhost:8000")
    return url


def authorization(key: str | None) -> dict[str, str]:
    """Returns the header that shows a key or, for None, that of the environment; none where neither is given.

    White space around it does not count, such as the line break at the end of a file that holds it.

    Raises:
        ValueError: it holds what no header may have. (httpx would say so with the key in its message.)
    """
    key = (key or os.environ.get(KEY) or "").strip()
    if key and not PRINTABLE.fullmatch(key):
        raise ValueError(f"{KEY}: the key must be printable ASCII characters without spaces; give it as it was made")
    return {"Authorization": f"Bearer {key}"} if key else {}


def path_segment(id_: str) -> str:
    """Returns an id as a part of a path. The ids `.` and `..` are escaped too: they would lead to another path."""
    return id_.replace(".", "%2E") if id_ in (".", "..") else quote(id_, safe="")


def content(response: httpx.Response) -> bytes:
    """Returns the body of a response; raises EndpointError if it is a refusal."""
    if response.is_success:
        return response.content
    message = f"{response.request.method} {response.request.url.path}: {response.status_code} {response.text[:500]}"
    if response.status_code == httpx.codes.UNPROCESSABLE_ENTITY and b'"accepted"' in response.content:
        try:
            found = EventsRefused.model_validate_json(response.content)
        except ValidationError as e:
            raise EndpointError(message, response.status_code) from e
        problems = [problem.model_dump() for problem in found.detail]
        raise EventsRefusedError(message, found.accepted, found.duplicates, problems)
    if response.status_code == httpx.codes.NOT_FOUND and EVENTS_OFF in response.text:
        raise EventsOffError(message, response.status_code)
    raise EndpointError(message, response.status_code, retry_after_s(response.headers.get("Retry-After", "")))


def answer(response: httpx.Response, model: type[M]) -> M:
    """Returns what a response says; raises EndpointError if it is a refusal, or nothing that the endpoint answers."""
    body = content(response)
    try:
        return model.model_validate_json(body)
    except ValidationError as e:
        (wrong, *_) = e.errors(include_url=False, include_context=False, include_input=False)
        said = ": ".join([*(str(name) for name in wrong["loc"]), wrong["msg"]])
        asked = f"{response.request.method} {response.request.url.path}: {response.status_code}"
        raise EndpointError(
            f"{asked} {response.text[:200]!r} is no {model.__name__} ({said}); give the address of the endpoint, and"
            " have proxies before it pass its answers on as they are",
            response.status_code,
        ) from e


def retry_after_s(value: str) -> float | None:
    """Returns the seconds that a Retry-After asks to wait; None if it says nothing that can be read.

    It may be seconds or a date (RFC 9110, section 10.2.3).
    """
    value = value.strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
        seconds = float(value)
        return seconds if math.isfinite(seconds) else None
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):  # by what is wrong with the date
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max((at - datetime.now(UTC)).total_seconds(), 0.0)


def unreachable(address: httpx.URL, error: httpx.TransportError) -> EndpointError:
    """Returns the error for an endpoint that did not answer, or that was not asked, because no connection was free."""
    if isinstance(error, httpx.PoolTimeout):
        return EndpointError(
            f"{address}: not asked, since all connections of this client were in use until its time-out; make fewer"
            " calls at a time, or raise timeout_s"
        )
    return EndpointError(f"{address}: no answer ({type(error).__name__}); is `python -m serve.run` up?")

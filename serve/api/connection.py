"""How the clients connect to an endpoint, show who they are, and read its answers."""

import os
import ssl
from typing import Any

import httpx

from serve.api.problems import EndpointError, EventsRefusedError

KEY = "TWOTOWER_KEY"
"""Environment variable with the API key or the JSON Web Token of a client that is given none."""


def connection(address: str, timeout_s: float, key: str | None, ca_file: str | None) -> dict[str, Any]:
    """Returns the options of httpx' clients; for the arguments see `serve.client.RecommendClient`."""
    key = key or os.environ.get(KEY)
    return {
        "base_url": address,
        "timeout": timeout_s,
        "headers": {"Authorization": f"Bearer {key}"} if key else {},
        "verify": True if ca_file is None else ssl.create_default_context(cafile=ca_file),
    }


def content(response: httpx.Response) -> bytes:
    """Returns the body of a response; raises EndpointError if it is a refusal."""
    if response.is_success:
        return response.content
    message = f"{response.request.method} {response.request.url.path}: {response.status_code} {response.text[:500]}"
    if response.status_code == httpx.codes.UNPROCESSABLE_ENTITY and b'"accepted"' in response.content:
        found = response.json()
        raise EventsRefusedError(message, found["accepted"], found["duplicates"], found["detail"])
    retry_after = response.headers.get("Retry-After")
    raise EndpointError(message, response.status_code, float(retry_after) if retry_after else None)


def unreachable(address: httpx.URL, error: httpx.TransportError) -> EndpointError:
    """Returns the error for an endpoint that did not answer."""
    return EndpointError(f"{address}: no answer ({type(error).__name__}); is `python -m serve.run` up?")

"""A method that a path does not have is answered with those that it has."""

import httpx

from serve.deployment.ingress import api


async def test_all_methods_of_a_path_are_named() -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://endpoint") as client:
        answer = await client.options("/v1/users/0")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "DELETE, GET")

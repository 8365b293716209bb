"""The pages /docs and /redoc of the endpoint work where there is no internet, and take a key."""

import re

import httpx
import pytest

from serve.access.control import AccessControl, install
from serve.deployment.ingress import api


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
async def test_scripts_and_styles_come_from_the_endpoint(page: str) -> None:
    install(AccessControl(None))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://endpoint") as client:
        text = (await client.get(page)).text
        taken = re.findall(r"<(?:script|link)[^>]* (?:src|href)=\"([^\"]*)\"", text)
        assert taken
        for address in taken:
            assert address.startswith("/"), f"{page} takes {address} from elsewhere"
            assert (await client.get(address)).status_code == 200


async def test_requests_can_be_tried_with_a_key() -> None:
    """Without a scheme in the document the page has no field for one, and each try is answered with 401."""
    install(AccessControl(None))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://endpoint") as client:
        document = (await client.get("/openapi.json")).json()
    (scheme,) = document["components"]["securitySchemes"].items()
    assert (scheme[1]["type"], scheme[1]["scheme"]) == ("http", "bearer")
    assert document["security"] == [{scheme[0]: []}, {}], "an endpoint that asks nobody is tried without one"

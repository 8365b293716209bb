"""The pages /docs and /redoc of the endpoint work where there is no internet."""

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

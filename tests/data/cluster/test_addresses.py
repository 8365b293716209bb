"""Addresses in configs are read before anything starts; those of Redis in tests/serve/access/test_limits.py too."""

import pytest

from data.artifacts.errors import ConfigError
from serve.viewer.config import PageConfig


@pytest.mark.parametrize("endpoint", ["127.0.0.1:8000", "http://h:abc", "http://h:99999999", "http://", "http://[::1"])
def test_the_address_of_the_endpoint_is_read_before_anything_starts(endpoint: str) -> None:
    with pytest.raises(ConfigError, match=r"page\.endpoint: '.*' is no address"):
        PageConfig(endpoint=endpoint)
    assert PageConfig(endpoint="https://h:443/below").endpoint == "https://h:443/below"

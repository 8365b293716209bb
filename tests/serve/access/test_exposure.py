"""An endpoint that others can reach says who may ask."""

import pytest

from conf.schema import load
from data.artifacts.errors import ConfigError
from serve.access.config import AuthConfig, AuthKind
from serve.access.exposure import check_exposure


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.com", "fe80::1", ""])
def test_elsewhere_than_on_loopback_it_must_be_said_who_may_ask(host: str) -> None:
    with pytest.raises(ConfigError, match=r"serve\.host: .*; pass auth=keys .* or auth=none"):
        check_exposure(AuthConfig(), host)
    for kind in (AuthKind.none, AuthKind.keys):
        check_exposure(AuthConfig(kind=kind), host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"])
def test_on_loopback_nobody_is_asked(host: str) -> None:
    check_exposure(AuthConfig(), host)


def test_the_groups() -> None:
    assert load().auth.kind is AuthKind.loopback
    assert load(["auth=none"]).auth.kind is AuthKind.none
    config = load(["auth=keys", "storage.root=s3://bucket/twotower"]).auth
    assert (config.kind, config.file) == (AuthKind.keys, "s3://bucket/twotower/keys.json")
    with pytest.raises(ConfigError, match=r"auth\.refresh_s: 0\.0 must be above 0"):
        load(["auth.refresh_s=0"])

"""An endpoint that others can reach says who may ask."""

from pathlib import Path

import pytest
from ray.serve._private import default_impl
from ray.serve.config import HTTPOptions, gRPCOptions

from conf.schema import load
from data.artifacts.errors import ConfigError
from data.cluster.ray_compatibility import serve_addresses
from data.cluster.ray_compatibility.serve_addresses import listen_nearby
from serve.access.config import AuthConfig, AuthKind
from serve.access.exposure import check_access, check_deployed, check_exposure


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.com", "fe80::1", ""])
def test_elsewhere_than_on_loopback_it_must_be_said_who_may_ask(host: str) -> None:
    with pytest.raises(ConfigError, match=r"serve\.host: .*; pass auth=keys .* auth=jwt, or auth=none"):
        check_exposure(AuthConfig(), host)
    for kind in (AuthKind.none, AuthKind.keys):
        check_exposure(AuthConfig(kind=kind), host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"])
def test_on_loopback_nobody_is_asked(host: str) -> None:
    check_exposure(AuthConfig(), host)


def test_a_replica_that_cannot_tell_where_it_answers_must_be_told_who_may_ask() -> None:
    check_deployed(AuthConfig(), is_replica=False)  # built, perhaps before Serve runs: its replicas ask again
    with pytest.raises(ConfigError, match=r"http_options\.host of the Serve config: an unknown host .* pass auth=keys"):
        check_deployed(AuthConfig(), is_replica=True)
    check_deployed(AuthConfig(kind=AuthKind.none), is_replica=True)


@pytest.mark.parametrize("is_patched", [False, True])
@pytest.mark.parametrize("servicers", [[], ["serve.deployment.ingress.add_servicer"]])
def test_grpc_that_listens_everywhere_counts_as_reached_by_others(
    servicers: list[str], is_patched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Serve config that was written by hand, on a Ray that was started without the changes to Serve."""
    options = {
        "get_http_config": HTTPOptions(host="127.0.0.1"),
        "get_grpc_config": gRPCOptions(port=9000, grpc_servicer_functions=servicers),
    }
    monkeypatch.setattr(serve_addresses, "_told", options.get)
    monkeypatch.setattr(default_impl, "add_grpc_address", default_impl.add_grpc_address)
    if is_patched:
        listen_nearby(default_impl)
    if servicers and not is_patched:
        with pytest.raises(ConfigError, match=r"grpc_options of the Serve config: .*SETUP_HOOK.* auth=keys"):
            check_deployed(AuthConfig(), is_replica=True)
    else:
        check_deployed(AuthConfig(), is_replica=True)
    check_deployed(AuthConfig(kind=AuthKind.none), is_replica=True)


def test_users_of_others_are_not_named_by_a_hash_that_anybody_can_compute(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for short in ("", "too short"):
        monkeypatch.setenv("USER_HASH_KEY", short)
        check_access(AuthConfig(), "127.0.0.1")
        with pytest.raises(ConfigError, match=r"USER_HASH_KEY: must have at least 16 characters .* `openssl rand"):
            check_access(AuthConfig(kind=AuthKind.none), "127.0.0.1")
    monkeypatch.delenv("USER_HASH_KEY")
    (tmp_path / "key").write_text("k" * 32)
    monkeypatch.setenv("USER_HASH_KEY_FILE", str(tmp_path / "key"))
    check_access(AuthConfig(kind=AuthKind.none), "0.0.0.0")


def test_the_groups() -> None:
    assert load().auth.kind is AuthKind.loopback
    assert load(["auth=none"]).auth.kind is AuthKind.none
    config = load(["auth=keys", "storage.root=s3://bucket/twotower"]).auth
    assert (config.kind, config.file) == (AuthKind.keys, "s3://bucket/twotower/keys.json")
    with pytest.raises(ConfigError, match=r"auth\.refresh_s: 0\.0 must be above 0"):
        load(["auth.refresh_s=0"])

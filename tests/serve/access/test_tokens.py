"""JSON Web Tokens are accepted where issuer, audience, time, algorithm and signature are right, and nowhere else."""

import base64
import http.server
import json
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from conf.schema import load
from data.artifacts.errors import ConfigError
from serve.access import tokens
from serve.access.config import AuthConfig, AuthKind, JwtConfig
from serve.access.exposure import check_access
from serve.access.keys import Caller
from serve.access.scopes import Scope
from serve.access.token_keys import TokenKeysError, read_token_keys
from serve.access.tokens import TokenAuthenticator

ISSUER, AUDIENCE = "https://login.example.com/", "recommender"
FIRST, SECOND = rsa.generate_private_key(65537, 2048), rsa.generate_private_key(65537, 2048)
ELLIPTIC = ec.generate_private_key(ec.SECP256R1())


def public(key: Any, kid: str, **more: str) -> dict[str, Any]:
    """The public part of a key as a member of a key set."""
    algorithm = ECAlgorithm if isinstance(key, ec.EllipticCurvePrivateKey) else RSAAlgorithm
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, **more}


def signed(key: Any = FIRST, kid: str | None = "1", algorithm: str = "RS256", **claims: Any) -> str:
    """A token that is valid, but for what the arguments say; a claim of None is left out."""
    whole = {"iss": ISSUER, "aud": AUDIENCE, "sub": "shop", "exp": time.time() + 60, "scope": "recommend"} | claims
    headers = {} if kid is None else {"kid": kid}
    return jwt.encode({k: v for k, v in whole.items() if v is not None}, key, algorithm=algorithm, headers=headers)


@pytest.fixture
def key_set(tmp_path: Path) -> Path:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [public(FIRST, "1", use="sig", alg="RS256"), public(ELLIPTIC, "e")]}))
    return path


def config_of(key_set: Any, **more: Any) -> AuthConfig:
    given = {"issuer": ISSUER, "audience": AUDIENCE, "jwks": str(key_set)} | more
    return AuthConfig(kind=AuthKind.jwt, jwt=JwtConfig(**given))


async def authenticator(key_set: Any, **more: Any) -> TokenAuthenticator:
    made = TokenAuthenticator(config_of(key_set, **more))
    await made.refresh()
    return made


async def test_a_valid_token_names_its_caller_and_its_scopes(key_set: Path) -> None:
    checks = await authenticator(key_set)
    assert checks.find(signed()) == Caller("shop", frozenset({Scope.recommend}))
    several = signed(aud=["other", AUDIENCE], scope=["events", "read_users", "openid", 7], sub="auth0|5f7c@clients")
    assert checks.find(several) == Caller("auth0|5f7c@clients", frozenset({Scope.events, Scope.read_users}))
    nothing = checks.find(signed(scope=None))
    assert nothing is not None
    assert nothing.scopes == frozenset()
    elliptic = await authenticator(key_set, algorithm="ES256", name_claim="client_id", scope_claim="permissions")
    token = signed(ELLIPTIC, "e", "ES256", client_id="x", permissions=["admin"])
    assert elliptic.find(token) == Caller("x", frozenset({Scope.admin}))


async def test_names_that_logs_cannot_have_are_made_plain_and_stay_apart(key_set: Path) -> None:
    checks = await authenticator(key_set)
    names = [caller.name for sub in ("a\nb", "a b", "x" * 300) if (caller := checks.find(signed(sub=sub)))]
    assert len({*names}) == 3
    assert all(len(name) <= 64 and name.isprintable() and " " not in name for name in names)


def unsigned() -> str:
    return jwt.encode({"iss": ISSUER, "aud": AUDIENCE, "sub": "shop", "exp": time.time() + 60}, None, algorithm="none")


def by_the_public_key() -> str:
    """Signed by HS256, with the text of the public key as the shared one: what a pinned algorithm is for."""
    pem = FIRST.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    header, body = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in ({"alg": "HS256", "kid": "1"}, {"iss": ISSUER, "aud": AUDIENCE, "sub": "shop", "exp": 9e9})
    )
    mac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(f"{header}.{body}".encode(), pem)
    return f"{header}.{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def nested() -> str:
    deep = base64.urlsafe_b64encode(b"[" * 4000).decode()
    return f"{deep}.{deep}.x"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: signed(iss="https://elsewhere.example.com/"),
        lambda: signed(iss=None),
        lambda: signed(aud="other"),
        lambda: signed(aud=None),
        lambda: signed(exp=time.time() - 60),
        lambda: signed(exp=None),
        lambda: signed(nbf=time.time() + 60),
        lambda: signed(sub=None),
        lambda: signed(sub=" "),
        lambda: signed(SECOND),
        lambda: signed(kid="2"),
        lambda: signed(algorithm="RS512"),
        lambda: signed(ELLIPTIC, "e", "ES256"),
        lambda: signed()[:-4] + "AAAA",
        unsigned,
        by_the_public_key,
        nested,
        lambda: "x" * 10_000,
        lambda: "a.b.c",
        lambda: "\xff.\xff.\xff",
        lambda: "",
    ],
)
async def test_others_are_not_accepted(key_set: Path, wrong: Any) -> None:
    assert (await authenticator(key_set)).find(wrong()) is None


async def test_clocks_may_differ_by_the_leeway(key_set: Path) -> None:
    assert (await authenticator(key_set, leeway_s=120)).find(signed(exp=time.time() - 60)) is not None


async def test_a_token_without_a_key_id_is_by_the_only_key(key_set: Path) -> None:
    checks = await authenticator(key_set)
    assert checks.find(signed(kid=None)) is not None
    assert checks.find(signed(SECOND, kid=None)) is None


async def test_a_shared_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_KEY", "k" * 32)
    checks = await authenticator(None, jwks=None, algorithm="HS256")
    assert checks.find(signed("k" * 32, None, "HS256")) is not None
    assert checks.find(signed("k" * 32, "any", "HS256")) is not None, "a shared key has no id"
    assert checks.find(signed("l" * 32, "any", "HS256")) is None
    assert checks.find(signed("l" * 32, None, "HS256")) is None
    monkeypatch.setenv("JWT_KEY", "k" * 31)
    with pytest.raises(TokenKeysError, match="JWT_KEY: must have at least 32 bytes with HS256"):
        check_access(config_of(None, jwks=None, algorithm="HS256"), "127.0.0.1")


@pytest.fixture
def published(tmp_path: Path) -> Iterator[str]:
    """The URL of a key set, which a server on loopback reads from `served.json` at each request."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = (tmp_path / "served.json").read_bytes()
            self.send_response(200 if content else 503)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/keys"
    server.shutdown()
    thread.join()
    server.server_close()


async def test_a_new_key_is_found_at_the_url_once_a_token_is_signed_by_it(
    published: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = tmp_path / "served.json"
    served.write_text(json.dumps({"keys": [public(FIRST, "1")]}))
    checks = await authenticator(published)
    served.write_text(json.dumps({"keys": [public(SECOND, "2")]}))
    await checks.refresh()
    assert checks.find(signed()) is not None, "it is not yet time to read it again"
    monkeypatch.setattr(tokens, "AGAIN_S", 0)
    assert checks.find(signed(SECOND, "2")) is None
    served.write_text("")
    with pytest.raises(TokenKeysError, match="keys is no JSON Web Key Set that can be read .*503"):
        await checks.refresh()
    assert checks.find(signed()) is not None, "what was known remains"
    served.write_text(json.dumps({"keys": [public(SECOND, "2")]}))
    await checks.refresh()
    assert checks.find(signed(SECOND, "2")) is not None
    assert checks.find(signed()) is None


@pytest.mark.parametrize(
    "jwks",
    ["http://localhost.evil.example/jwks", "http://127.0.0.1.evil.example/jwks", "http://localhost@evil.example/jwks",
     "http://[::1].evil.example/jwks", "http://[::1]@evil.example/jwks", "HTTP://evil.example/jwks", "http://[x/jwks",
     "http:///jwks", "http://127.0.0.1:x@evil.example"],
)  # fmt: skip
def test_a_host_that_begins_like_loopback_is_not(jwks: str) -> None:
    with pytest.raises(ConfigError, match=r"auth\.jwt\.jwks: \S+ must be https"):
        JwtConfig(jwks=jwks)


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "localhost:1", "[::1]:8000", "127.1.2.3"])
def test_a_key_set_may_come_from_this_machine_in_the_open(host: str) -> None:
    JwtConfig(jwks=f"http://{host}/jwks")


def test_an_address_of_keys_is_named_without_its_secrets() -> None:
    jwks = "https://root:Secret9@127.0.0.1:1/jwks?token=Secret8"
    with pytest.raises(
        TokenKeysError, match=r"auth\.jwt\.jwks: https://\*\*\*@127\.0\.0\.1:1/jwks\?\*\*\* is no"
    ) as refused:
        read_token_keys(config_of(jwks).jwt)
    assert "Secret" not in "".join(traceback.format_exception(refused.value))


def test_what_cannot_be_used_is_named(key_set: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"auth\.jwt\.issuer: null must be given with auth=jwt"):
        load(["auth=jwt"])
    with pytest.raises(ConfigError, match=r"auth\.jwt\.jwks: http://\S+ must be https"):
        JwtConfig(jwks="http://login.example.com/keys")
    with pytest.raises(ConfigError, match=r"auth\.jwt\.algorithm: 'none' must be one of RS256"):
        JwtConfig(algorithm="none")
    with pytest.raises(ConfigError, match=r"auth\.jwt\.jwks: \S+ must be null with HS256"):
        config_of(key_set, algorithm="HS256")
    with pytest.raises(TokenKeysError, match=r"has no key for signatures by EdDSA"):
        check_access(config_of(key_set, algorithm="EdDSA"), "0.0.0.0")
    (tmp_path / "spoilt.json").write_text('{"keys": [{"kty": "RSA", "n": 5}]}')
    for name in ("none.json", "spoilt.json"):
        with pytest.raises(TokenKeysError, match=rf"auth\.jwt\.jwks: .*{name} is no JSON Web Key Set"):
            read_token_keys(config_of(tmp_path / name).jwt)


@pytest.mark.parametrize("jwks", ["https://h:abc/jwks", "https://h:99999999/jwks", "https:///jwks", "https://[x/jwks"])
def test_an_address_of_keys_is_read_before_anything_starts(jwks: str) -> None:
    with pytest.raises(ConfigError, match=r"auth\.jwt\.jwks: \S+ must be https://host/path"):
        JwtConfig(jwks=jwks)

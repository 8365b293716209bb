"""The keys by which JSON Web Tokens are signed: a JSON Web Key Set, from a file or a URL, or a shared key."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import jwt

from data.artifacts.errors import UserError
from data.artifacts.folders import Folder
from data.artifacts.records.json_files import left_out
from data.artifacts.secrets import recordable, secret, without_passwords
from serve.access.config import JwtConfig

SHARED_KEY = "JWT_KEY"
"""The secret with the shared key."""

SHORTEST = {"HS256": 32, "HS384": 48, "HS512": 64}
"""Bytes that a shared key must have: those of the hash (RFC 7518, section 3.2)."""

LONGEST = 1_000_000
"""Bytes of the longest key set that is read."""

ANSWERS_WITHIN_S = 5.0
"""Seconds that the server of a key set may take."""

KINDS = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
"""The kind of key by the first letters of the algorithm."""

TokenKeys = Mapping[str, Sequence[Any]]
"""Keys by their id, as `jwt.decode` takes them; those without one, of which there may be several, have the id \"\"."""


class TokenKeysError(UserError, ValueError):
    """The keys by which tokens are signed cannot be used."""


def read_token_keys(config: JwtConfig) -> TokenKeys:
    """Reads the keys.

    Raises:
        TokenKeysError: they cannot be read, or none is for the algorithm.
    """
    if config.is_shared:
        return {"": [_shared(config.algorithm)]}
    assert config.jwks is not None, "the config requires it"
    try:
        content = _from_url(config.jwks) if config.jwks.startswith(("https://", "http://")) else _from_file(config.jwks)
        return _keys(json.loads(content), config)
    except TokenKeysError:
        raise
    except (
        OSError,
        httpx.HTTPError,
        httpx.InvalidURL,
        jwt.PyJWTError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
    ) as e:
        said = f"auth.jwt.jwks: {recordable(config.jwks)} is no JSON Web Key Set that can be read ({e})"
        raise TokenKeysError(without_passwords(said, [f"={config.jwks}"])) from None  # which has the URL


def _shared(algorithm: str) -> bytes:
    key = secret(SHARED_KEY).encode()
    if len(key) < SHORTEST[algorithm]:
        raise TokenKeysError(
            f"{SHARED_KEY}: must have at least {SHORTEST[algorithm]} bytes with {algorithm}, in the environment"
        )
    return key


def _from_url(url: str) -> bytes:
    ends = time.monotonic() + ANSWERS_WITHIN_S  # httpx waits as long for each part
    with httpx.stream("GET", url, timeout=ANSWERS_WITHIN_S) as answer:
        answer.raise_for_status()
        content = b""
        for part in answer.iter_bytes():
            content += part
            if time.monotonic() > ends:
                raise ValueError(f"not complete after {ANSWERS_WITHIN_S:g} s")
            if len(content) > LONGEST:
                raise ValueError(f"longer than {LONGEST} bytes")
    return content


def _from_file(location: str) -> bytes:
    above, separator, name = location.rpartition("/")
    return Folder.of(above or ("/" if separator else ".")).read_bytes(name)


def _keys(content: Any, config: JwtConfig) -> TokenKeys:
    """The keys of a set that are for signatures by the algorithm; others do not count.

    One that cannot be used is left out, and named, unless it is the only one (RFC 7517, section 5).

    Raises:
        TokenKeysError: there is none.
        jwt.PyJWTError, ValueError, TypeError: none can be used.
    """
    fitting = [
        key
        for key in content["keys"]
        if key.get("kty") == KINDS[config.algorithm[:2]]
        and key.get("use", "sig") == "sig"
        and key.get("alg", config.algorithm) == config.algorithm
    ]
    if not fitting:
        raise TokenKeysError(
            f"auth.jwt.jwks: {recordable(config.jwks)} has no key for signatures by {config.algorithm}"
        )
    found: dict[str, list[Any]] = {}
    errors: list[Exception] = []
    for key in fitting:
        try:
            made = jwt.PyJWK(key, config.algorithm).key
            found.setdefault(key.get("kid", ""), []).append(made)
        except (jwt.PyJWTError, ValueError, TypeError) as e:
            errors.append(e)
            left_out(f"auth.jwt.jwks: {recordable(config.jwks)}: key {key.get('kid', '')!r} cannot be used ({e})")
    if not found:
        raise errors[0]
    return found

"""Callers who show a JSON Web Token."""

import asyncio
import hashlib
import re
import time
from typing import Any

import jwt

from data.cluster.failure_log import FailureLog
from serve.access.config import AuthConfig, JwtConfig
from serve.access.keys import Caller
from serve.access.scopes import Scope
from serve.access.token_keys import TokenKeys, read_token_keys

LONGEST_TOKEN = 8_192
"""Characters of the longest token that is looked at."""

LONGEST_NAME = 64
"""Characters of the longest name that stands in logs and metrics as it is."""

AGAIN_S = 30.0
"""Seconds after which keys are read again because a token was signed by an unknown one."""

SCOPES = {scope.value: scope for scope in Scope}

log_failure = FailureLog("access")


class TokenAuthenticator:
    """Knows callers by their tokens."""

    def __init__(self, config: AuthConfig) -> None:
        self._config: JwtConfig = config.jwt
        self._keys: TokenKeys = {}
        self._read_at = -float("inf")
        self._is_one_unknown = False

    def find(self, credentials: str) -> Caller | None:
        """The caller whose token this is; None if it is not valid here. The log says why, once a minute."""
        if len(credentials) > LONGEST_TOKEN:
            return None
        try:
            return caller_of(self._claims(credentials), self._config)
        except (jwt.PyJWTError, ValueError, RecursionError) as e:  # of whatever stands in place of a token
            log_failure("a token is refused", e)
            return None

    def _claims(self, token: str) -> dict[str, Any]:
        """The claims of a valid token; raises jwt.PyJWTError where it is not valid."""
        id_ = jwt.get_unverified_header(token).get("kid", "")
        keys = self._keys.get(id_, ())
        if not keys and len(self._keys) == 1 and (not id_ or self._config.is_shared):
            (keys,) = self._keys.values()  # a shared key has no id, whatever a token says
        error: jwt.PyJWTError = jwt.InvalidKeyError("it is signed by a key that is not in auth.jwt.jwks")
        for key in keys:
            try:
                return self._decoded(token, key)
            except jwt.InvalidSignatureError as e:  # another key without an id may be the one
                error = e
        if not (keys and id_):  # a key that has no id may have been exchanged
            self._is_one_unknown = True
        raise error

    def _decoded(self, token: str, key: Any) -> dict[str, Any]:
        """The claims of a token that this key has signed; raises jwt.PyJWTError where it is not valid."""
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[self._config.algorithm],
            issuer=self._config.issuer,
            audience=self._config.audience,
            leeway=self._config.leeway_s,
            options={"require": ["exp", "iss", "aud", self._config.name_claim]},
        )
        return claims

    async def refresh(self) -> None:
        """Reads the keys again where it is time; raises TokenKeysError, and then those known before remain."""
        age_s = time.monotonic() - self._read_at
        if age_s < (min(AGAIN_S, self._config.refresh_s) if self._is_one_unknown else self._config.refresh_s):
            return
        self._read_at, self._is_one_unknown = time.monotonic(), True  # it stays so if this fails
        self._keys = await asyncio.to_thread(read_token_keys, self._config)
        self._is_one_unknown = False


def caller_of(claims: dict[str, Any], config: JwtConfig) -> Caller:
    """The caller that the claims of a valid token name; raises jwt.InvalidTokenError where they name none."""
    name, scopes = claims[config.name_claim], claims.get(config.scope_claim, [])
    if not isinstance(name, str) or not name.strip():
        raise jwt.InvalidTokenError(f"{config.name_claim} is no name")
    words = scopes.split() if isinstance(scopes, str) else scopes if isinstance(scopes, list) else []
    return Caller(
        _loggable(name), frozenset(SCOPES[word] for word in words if isinstance(word, str) and word in SCOPES)
    )


def _loggable(name: str) -> str:
    """The name as it is where it is short and plain; otherwise the plain part of it, and a digest of all."""
    plain = re.sub(r"[^A-Za-z0-9_.@|:-]", "_", name)
    if plain == name and len(name) <= LONGEST_NAME:
        return name
    return f"{plain[: LONGEST_NAME - 17]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"

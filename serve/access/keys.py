"""API keys: their text, the records that are kept of them, and finding the caller whose key a request has.

A key is `ttr_<id>_<secret>`. The id leads to its record; the secret has 256 random bits. A record has the SHA-256 of
the whole key: against a random secret of that length a slow hash, as for passwords, adds nothing, and would cost
milliseconds of each request.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from data.artifacts.errors import ConfigError
from data.artifacts.structured import known_fields
from serve.access.config import NAME, KeyConfig, check_rate
from serve.access.scopes import Scope

PREFIX = "ttr"
"""Prefix of every key, by which scanners find keys in repositories and logs."""

LONGEST = 200
"""Characters of the longest text that may be a key."""


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller.

    Attributes:
        name: name of the caller in logs and metrics.
        scopes: the scopes that it has been granted.
        rate: how many recommendations it may ask for in a time, such as `100/second`; None means the default.
        concurrency: how many of its calls a replica answers at the same time; None means the default.
    """

    name: str
    scopes: frozenset[Scope]
    rate: str | None = None
    concurrency: int | None = None


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """The stored record of a key: enough to recognise the key, but not to reconstruct it.

    Attributes:
        id: the part of the key that leads to this record.
        name: whose key it is.
        sha256: digest of the whole key, in hexadecimal digits.
        scopes: names of its scopes.
        created_at: ISO timestamp.
        expires_at: ISO timestamp from which on it is refused; None means never.
        rate, concurrency: see `Caller`.
    """

    id: str
    name: str
    sha256: str
    scopes: list[str]
    created_at: str
    expires_at: str | None = None
    rate: str | None = None
    concurrency: int | None = None

    @classmethod
    def of_json(cls, value: Any) -> "KeyRecord":
        """Reads a record; raises ValueError, in words for who wrote it, if it is none.

        Fields that a later version has added are ignored.
        """
        try:
            record = cls(**known_fields(cls, value, {}))
            record._check_types()
            record.caller()
            record.expires()
            if len(bytes.fromhex(record.sha256)) != hashlib.sha256().digest_size:
                raise ValueError("its sha256 is not one")
        except (TypeError, ValueError, AttributeError, OverflowError) as e:
            name = value.get("name") if isinstance(value, dict) else value
            raise ValueError(f"{name!r} is not the record of a key ({e})") from e
        return record

    def as_json(self) -> dict[str, Any]:
        """The record as JSON values."""
        return asdict(self)

    def caller(self) -> Caller:
        """The caller whose key this is."""
        if not NAME.fullmatch(self.name):
            raise ValueError("its name must be up to 64 letters, digits, '-', '_' or '.'")
        check_rate("rate", self.rate)
        if self.concurrency is not None and self.concurrency < 1:
            raise ValueError("its concurrency must be a whole number above 0")
        return Caller(self.name, frozenset(Scope(scope) for scope in self.scopes), self.rate, self.concurrency)

    def _check_types(self) -> None:
        """Raises ValueError where a value, which somebody may have written by hand, is of another type."""
        for name in ("id", "name", "sha256", "created_at", "expires_at", "rate"):
            value, may_be_null = getattr(self, name), name in ("expires_at", "rate")
            if not isinstance(value, str) and not (may_be_null and value is None):
                raise ValueError(f"its {name} must be a text{' or null' * may_be_null}")
        if not isinstance(self.scopes, list) or not all(isinstance(scope, str) for scope in self.scopes):
            raise ValueError("its scopes must be a list of texts")
        if self.concurrency is not None and type(self.concurrency) is not int:
            raise ValueError("its concurrency must be a whole number above 0, or null")

    def expires(self) -> float:
        """The time from which on it is refused, in seconds since 1970."""
        return float("inf") if self.expires_at is None else datetime.fromisoformat(self.expires_at).timestamp()


def mint(name: str, config: KeyConfig, now: datetime | None = None) -> tuple[str, KeyRecord]:
    """Makes a key.

    Returns:
        The key, which is nowhere else, and its record.

    Raises:
        ConfigError: the name cannot be one.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(f"mint: {name!r} must be up to 64 letters, digits, '-', '_' or '.'")
    now = now or datetime.now(UTC)
    id_ = secrets.token_hex(6)
    key = f"{PREFIX}_{id_}_{secrets.token_urlsafe(32)}"
    expires = None if config.expires_days is None else now + timedelta(days=config.expires_days)
    return key, KeyRecord(
        id=id_,
        name=name,
        sha256=hashlib.sha256(key.encode()).hexdigest(),
        scopes=[scope.value for scope in config.scopes],
        created_at=now.isoformat(timespec="seconds"),
        expires_at=None if expires is None else expires.isoformat(timespec="seconds"),
        rate=config.rate,
        concurrency=config.concurrency,
    )


class KeyRing:
    """The keys that are valid now.

    A key is found by its id, and accepted by comparing digests in constant time. An id that does not exist is compared
    with a digest too, so that how long a refusal takes says nothing about ids.
    """

    def __init__(self, records: Iterable[KeyRecord]) -> None:
        self._by_id = {
            record.id: (bytes.fromhex(record.sha256), record.caller(), record.expires()) for record in records
        }
        self._nobody = (secrets.token_bytes(hashlib.sha256().digest_size), Caller("", frozenset()), float("-inf"))

    def __len__(self) -> int:
        return len(self._by_id)

    def find(self, key: str) -> Caller | None:
        """The caller whose key this is; None if it is no valid key."""
        if len(key) > LONGEST:
            return None
        _, _, rest = key.partition("_")
        digest, caller, expires = self._by_id.get(rest.partition("_")[0], self._nobody)
        matches = hmac.compare_digest(hashlib.sha256(key.encode()).digest(), digest)
        return caller if matches and time.time() < expires else None

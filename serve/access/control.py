"""Access control in a replica: who asks, whether it may, and how often each caller asked and was refused."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Protocol

from data.cluster.background import LATE_S, PeriodicTask
from data.cluster.failure_log import FailureLog, replica_logger
from data.cluster.loopback import is_from_here
from serve.access.config import AuthConfig, AuthKind, LimitsConfig
from serve.access.key_file import read_records
from serve.access.keys import Caller, KeyRing
from serve.access.limits import CallLimits, Exceeded
from serve.access.scopes import UNLISTED, Scope
from serve.access.tokens import TokenAuthenticator

CALLER: ContextVar[Caller | None] = ContextVar("caller", default=None)
"""Who asks, while a request is answered; None where nobody is asked."""

LOGGED_EVERY_S = 60.0
"""Seconds after which a refusal of the same caller for the same reason is logged again."""

UNREAD = "who may ask cannot be read again; what was known remains"

OTHER_SITE = (
    "nobody is asked for a key here, so call this endpoint by a name of this machine itself, such as localhost (header"
    " Host), and from no web site of elsewhere (Origin); behind a proxy that asks, start it with auth=none"
)
"""What a request is told that a web site may be behind."""

MAX_NAMES = 200
"""Most callers that metrics and logs name in a replica; further ones are OTHERS."""

OTHERS = "(others)"

log_failure = FailureLog("access")
logger = replica_logger("access")


class Refused(Exception):
    """A request that is not answered, because of who asks.

    Attributes:
        status: the HTTP status: 401, 403 or 429.
        retry_after_s: seconds after which the same request may be answered; None if that is not a matter of time.
    """

    def __init__(self, status: int, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.retry_after_s = retry_after_s


class Authenticator(Protocol):
    """Finds out who asks, from memory; `refresh` reads again what it knows, away from the requests."""

    def find(self, credentials: str) -> Caller | None: ...
    async def refresh(self) -> None: ...


class KeyAuthenticator:
    """Knows callers by their API keys."""

    def __init__(self, config: AuthConfig) -> None:
        self._config = config
        self._ring = KeyRing([])

    def find(self, credentials: str) -> Caller | None:
        """See `KeyRing.find`."""
        return self._ring.find(credentials)

    async def refresh(self) -> None:
        """Reads the keys again; raises KeyFileError, and then those known before remain."""
        self._ring = KeyRing(await asyncio.to_thread(read_records, self._config))


class AccessControl:
    """Admits requests by who asks, and refuses others.

    Args:
        authenticator: finds out who asks; None admits everybody.
        limits: how often each caller may ask.
        is_for_loopback: as the attribute.

    Attributes:
        is_for_loopback: whether nobody is asked because the endpoint listens on loopback alone.
        following: the task that follows changes of what the authenticator knows; None where it is not followed.
    """

    def __init__(
        self, authenticator: Authenticator | None, limits: CallLimits | None = None, is_for_loopback: bool = False
    ) -> None:
        self.is_for_loopback = is_for_loopback
        self._authenticator = authenticator
        self._limits = limits or CallLimits(LimitsConfig())
        self._calls: Counter[tuple[str, str]] = Counter()
        self._names: set[str] = set()
        self._logged_at: dict[tuple[str, int], float] = {}
        self.following: PeriodicTask | None = None

    @classmethod
    async def start(cls, config: AuthConfig) -> "AccessControl":
        """Access control as configured, which follows changes of keys as long as the event loop runs.

        Raises:
            KeyFileError: the keys cannot be read.
        """
        if not config.asks:
            return cls(None, is_for_loopback=config.kind is AuthKind.loopback)
        authenticator = AUTHENTICATORS[config.kind](config)
        await authenticator.refresh()
        control = cls(authenticator, CallLimits(config.limits))
        control.following = PeriodicTask(
            "keys", authenticator.refresh, config.refresh_s, log_failure, place=UNREAD, late_s=LATE_S
        )
        return control

    @property
    def asks(self) -> bool:
        """Whether callers must show who they are."""
        return self._authenticator is not None

    def require_from_here(self, host: str | None, origin: str | None) -> None:
        """Raises Refused where a web site of elsewhere may ask, by these headers (see `is_from_here`).

        Args:
            host, origin: the headers of a request to an endpoint that is for loopback alone.
        """
        if not is_from_here(host, origin):
            raise self._refusal("", 403, OTHER_SITE)

    @asynccontextmanager
    async def admitted(self, credentials: str | None, scopes: frozenset[Scope]) -> AsyncIterator[None]:
        """Admits a request, and counts it; the block answers it.

        Args:
            credentials: what the request shows; None if it shows nothing.
            scopes: those of which the caller needs one.

        Raises:
            Refused: it is not to be answered. Nothing of what the request asks for has been looked at, so the answer
                and its time are the same for every user.
        """
        caller = self._identified(credentials, scopes)
        try:
            self._limits.enter(caller)
        except Exceeded as e:
            raise self._refusal(caller.name, 429, str(e), e.retry_after_s) from None
        token = CALLER.set(caller)
        try:
            await self.charge()
            self._count(caller.name, "admitted")
            yield
        finally:
            CALLER.reset(token)
            self._limits.leave(caller)

    def _identified(self, credentials: str | None, scopes: frozenset[Scope]) -> Caller:
        assert self._authenticator is not None, "only called when authentication is on"
        if credentials is None:
            raise self._refusal("", 401, "no credentials; send the header Authorization: Bearer KEY")
        caller = self._authenticator.find(credentials)
        if caller is None:
            raise self._refusal("", 401, "the key or token is not known here, has expired, or was revoked")
        if not caller.scopes & scopes:
            needed = next(scope for scope in Scope if scope in scopes)  # admin, which all routes take, is the last
            wrong = " (or the path or the method is wrong)" if scopes == UNLISTED else ""
            raise self._refusal(caller.name, 403, f"key {caller.name}: needs the scope {needed.value}{wrong}")
        return caller

    async def charge(self, cost: int = 1, counted: int = 0) -> None:
        """Counts recommendations that the present caller asks for; raises Refused if they are too many.

        Args:
            cost: how many.
            counted: how many of the same call are counted already.
        """
        caller = CALLER.get()
        if caller is None:
            return
        try:
            await self._limits.charge(caller, cost, counted)
        except Exceeded as e:
            raise self._refusal(caller.name, 429, str(e), e.retry_after_s) from None

    def _refusal(self, name: str, status: int, detail: str, retry_after_s: float | None = None) -> Refused:
        name = self._count(name, OUTCOMES[status])
        now = time.monotonic()
        if now - self._logged_at.get((name, status), -LOGGED_EVERY_S) >= LOGGED_EVERY_S:
            self._logged_at[name, status] = now
            logger.log(logging.WARNING, "refused", extra={"key": name, "outcome": OUTCOMES[status]})
        return Refused(status, detail, retry_after_s)

    def _count(self, name: str, outcome: str) -> str:
        if name not in self._names:
            if len(self._names) >= MAX_NAMES:
                name = OTHERS
            else:
                self._names.add(name)
        self._calls[name, outcome] += 1
        return name

    def take_calls(self) -> dict[tuple[str, str], int]:
        """The number of calls by caller and outcome since this was last asked."""
        calls, self._calls = self._calls, Counter()
        return dict(calls)


OUTCOMES = {401: "unauthenticated", 403: "forbidden", 429: "limited"}
"""What a refusal is called in logs and metrics, by its HTTP status."""

AUTHENTICATORS: dict[AuthKind, Callable[[AuthConfig], Authenticator]] = {
    AuthKind.keys: KeyAuthenticator,
    AuthKind.jwt: TokenAuthenticator,
}
"""Authenticator class by kind of authentication; `auth=none` and `auth=loopback` have none."""


def caller_name() -> str:
    """The name of the caller whose request is being answered; empty if callers are not authenticated."""
    caller = CALLER.get()
    return "" if caller is None else caller.name


def may(scope: Scope) -> bool:
    """Whether the caller whose request is being answered has a scope; everybody has, where nobody is asked."""
    caller = CALLER.get()
    return caller is None or not caller.scopes.isdisjoint({scope, Scope.admin})


_installed: list[AccessControl] = []


def install(control: AccessControl) -> None:
    """Makes this the access control of the process, which has one ingress replica."""
    _installed[:] = [control]


def installed() -> AccessControl:
    """The access control of the process; raises RuntimeError where there is none, and nothing is then answered."""
    if not _installed:
        raise RuntimeError("no access control is installed in this process")
    return _installed[0]

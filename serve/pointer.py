"""The live pointer: which release serves, and which one the replicas are making ready. One small file, and its changes.

A release becomes live in two steps: it is a `candidate` until every replica holds it, warm; then it is `release`.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime


class PointerError(ValueError):
    """The pointer cannot move like that."""


@dataclass(frozen=True, slots=True)
class Live:
    """The live pointer.

    Attributes:
        release: what serves.
        previous: what served before, and would again after a rollback.
        promoted_at: since when, ISO.
        rolled_back: what served before and was found wanting: this pointer is its rollback.
        candidate: what the replicas make ready beside it.
        attempt: of whoever asked for the candidate; another one may ask for another.
    """

    release: str
    previous: str | None
    promoted_at: str
    rolled_back: str | None = None
    candidate: str | None = None
    attempt: str | None = None

    def held(self) -> list[str]:
        """What a replica holds, most important first: two releases."""
        second = self.candidate or self.previous
        return [self.release, *([second] if second not in (None, self.release) else [])]


def promoted(live: Live | None, release: str) -> Live:
    """A release serves. Promoting the live one again changes nothing."""
    if live is None:
        return Live(release, None, _now())
    if live.release == release:
        return withdrawn(live, live.attempt)
    return Live(release, live.release, _now())


def rolled_back(live: Live | None) -> Live:
    """What served before serves again. Done again it changes nothing more.

    Raises:
        PointerError: nothing is live, or nothing was before.
    """
    if live is None:
        raise PointerError("no release is live: there is nothing to roll back")
    if live.rolled_back is not None:
        return withdrawn(live, live.attempt)
    if live.previous is None:
        raise PointerError(f"release {live.release}: none was live before it; run python -m serve.promote release=ID")
    return Live(live.previous, None, _now(), rolled_back=live.release)


def preparing(live: Live, candidate: str, attempt: str) -> Live:
    """The replicas are to make a release ready, in place of any other candidate; two who ask for the same share it."""
    if live.candidate == candidate:
        return live
    return replace(live, candidate=candidate, attempt=attempt)


def withdrawn(live: Live, attempt: str | None) -> Live:
    """There is no candidate, unless somebody else has asked for another."""
    return replace(live, candidate=None, attempt=None) if live.attempt == attempt else live


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")

"""The live pointer: which release serves, which others have a share, and which the replicas are making ready.

One small file, and its changes. A release gets traffic in two steps: it is among the `candidates` until every replica
holds it, warm; then it is live, or part of an experiment.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from data.artifacts.errors import UserError
from serve.experiments.assignment import Experiment


class PointerError(UserError, ValueError):
    """The pointer cannot move like that."""


@dataclass(frozen=True, slots=True)
class Live:
    """The live pointer.

    Attributes:
        release: what serves.
        previous: what served before, and would again after a rollback.
        promoted_at: since when, ISO.
        rolled_back: what was found wanting: this pointer is its rollback.
        reason: of the rollback, where somebody gave one.
        candidates: what the replicas make ready beside it.
        attempt: of whoever asked for the candidates; another one may ask for others.
        withdrawn: the list of items that no release may answer with, see serve/withdraw.py.
    """

    release: str
    previous: str | None
    promoted_at: str
    rolled_back: str | None = None
    reason: str | None = None
    candidates: list[str] = field(default_factory=list)
    attempt: str | None = None
    experiment: Experiment | None = None
    withdrawn: str | None = None

    @classmethod
    def of_json(cls, value: dict[str, Any]) -> "Live":
        """Raises TypeError where it is none."""
        experiment = value.get("experiment")
        return cls(**value | {"experiment": None if experiment is None else Experiment(**experiment)})

    @property
    def others(self) -> list[str]:
        """Releases that have a share of the traffic beside the live one."""
        return [] if self.experiment is None else list(self.experiment.shares)

    def held(self) -> list[str]:
        """What a replica holds, most important first; two releases, where there is no experiment with more."""
        before = [self.previous] if self.previous is not None else []
        return list(dict.fromkeys([self.release, *self.others, *(self.candidates or self.others or before)]))

    def serves_as(self, other: "Live | None") -> bool:
        """Users are answered as by the other."""
        return other is not None and self.answers == other.answers

    @property
    def answers(self) -> tuple[object, ...]:
        """All that decides answers."""
        return self.release, self.experiment, self.withdrawn

    def pointing(self, release: str, previous: str | None, **changes: Any) -> "Live":
        """The pointer at a release from now on, or still; what goes on whatever is live is kept."""
        since = self.promoted_at if release == self.release else now()
        return Live(release, previous, since, withdrawn=self.withdrawn, **changes)

    def share(self, release: str) -> float:
        """Of the traffic."""
        others = {} if self.experiment is None else self.experiment.shares
        return 1 - sum(others.values()) if release == self.release else others.get(release, 0.0)


def promoted(live: Live | None, release: str) -> Live:
    """A release serves everybody. Promoting the live one again changes nothing, but ends an experiment."""
    if live is None:
        return Live(release, None, now())
    if live.release == release:
        return replace(withdrawn(live, live.attempt), experiment=None)
    return live.pointing(release, live.release)


def rolled_back(live: Live | None, reason: str | None = None) -> Live:
    """An experiment is over; or else what served before serves again. Done again it changes nothing more.

    Raises:
        PointerError: nothing is live, or nothing was before.
    """
    if live is None:
        raise PointerError("no release is live: there is nothing to roll back")
    if live.experiment is not None:
        return live.pointing(live.release, live.previous, rolled_back=", ".join(live.others), reason=reason)
    if live.rolled_back is not None:
        return withdrawn(live, live.attempt)
    if live.previous is None:
        raise PointerError(f"release {live.release}: none was live before it; run python -m serve.promote release=ID")
    return live.pointing(live.previous, None, rolled_back=live.release, reason=reason)


def shared(live: Live, experiment: Experiment) -> Live:
    """Some of the traffic goes to other releases; another experiment is over."""
    return live.pointing(live.release, live.previous, experiment=experiment)


def preparing(live: Live, candidates: list[str], attempt: str) -> Live:
    """The replicas are to make releases ready, in place of any other candidates; two who ask for the same share it."""
    if live.candidates == candidates:
        return live
    return replace(live, candidates=candidates, attempt=attempt)


def withdrawn(live: Live, attempt: str | None) -> Live:
    """There is no candidate, unless somebody else has asked for others."""
    return replace(live, candidates=[], attempt=None) if live.attempt == attempt else live


def now() -> str:
    """ISO, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")

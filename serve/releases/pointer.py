"""The live pointer: one small file that says which release serves, and functions that derive the next pointer from it.

A release gets traffic in two phases. It is among the `staged` releases until every replica has loaded it; then it is
live, or has a share of the traffic in an experiment. A pointer is never changed in place: each function here returns a
new one, which `serve.releases.registry.ReleaseRegistry.update_pointer` writes.
"""

from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from data.artifacts.errors import UserError
from data.artifacts.structured import known_fields, to_json_keys
from serve.experiments.assignment import Experiment
from serve.releases.audit.history import OF_EVERY_ENTRY, Stamp

JSON_KEYS = {"staged": "candidates", "denylist": "withdrawn"}
"""Keys of live.json that differ from the attribute's name."""


class PointerError(UserError, ValueError):
    """The requested change of the live pointer is not possible."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Who answers the users. A change that was decided on it takes place only where it still is so.

    Attributes:
        release: id of the live release; None where none is live.
        experiment: the running experiment; None where the live release has all of the traffic.
    """

    release: str | None
    experiment: Experiment | None = None

    @classmethod
    def of(cls, live: "LivePointer | None") -> "Traffic":
        """What a pointer says of it."""
        return cls(None) if live is None else cls(live.release, live.experiment)

    def __str__(self) -> str:
        beside = "" if self.experiment is None else f", with {', '.join(self.experiment.shares)} on trial"
        return (self.release or "none") + beside


@dataclass(frozen=True, slots=True)
class LivePointer:
    """The content of live.json.

    Attributes:
        release: id of the live release.
        previous: id of the release that was live before, to which a rollback returns.
        promoted_at: ISO timestamp of the moment when `release` became live.
        rolled_back: id of the release that a rollback has just taken out of service (several, separated by ", ", where
            the rollback ended an experiment); None unless this pointer is the result of a rollback.
        reason: the reason that was given for the rollback, if any.
        staged: ids of releases that the replicas are asked to load beside those that have traffic.
        attempt: a unique name of the rollout that asked for the staged releases. It tells this rollout from a later one
            that stages other releases in their place.
        experiment: which other releases have a share of the traffic; None where the live release has all of it.
        denylist: file name of the list of items that no release may answer with (see serve/rollout/denylist.py).
        change: who changed what serves, and when; None where an earlier version did.
        later: keys of live.json that a later version has added, with their values: they stay as they are.
    """

    release: str
    previous: str | None
    promoted_at: str
    rolled_back: str | None = None
    reason: str | None = None
    staged: list[str] = field(default_factory=list)
    attempt: str | None = None
    experiment: Experiment | None = None
    denylist: str | None = None
    change: Stamp | None = field(default=None, compare=False)
    later: dict[str, Any] = field(default_factory=dict, compare=False)

    @classmethod
    def of_json(cls, value: dict[str, Any]) -> "LivePointer":
        """Reads the content of live.json, or of an entry of the history that was put in its place.

        Raises:
            TypeError: a key is missing.
        """
        fields = known_fields(cls, value, JSON_KEYS)
        fields["later"] = {
            key: value[key] for key in value.keys() - to_json_keys(fields, JSON_KEYS).keys() - OF_EVERY_ENTRY
        }
        if fields.get("experiment") is not None:
            fields["experiment"] = Experiment.of_json(fields["experiment"])
        if fields.get("change") is not None:
            fields["change"] = Stamp(**known_fields(Stamp, fields["change"], {}))
        return cls(**fields)

    def as_json(self) -> dict[str, Any]:
        """The content of live.json."""
        own = asdict(self)
        return own.pop("later") | to_json_keys(own, JSON_KEYS)

    @property
    def others(self) -> list[str]:
        """Ids of the releases that have a share of the traffic beside the live one."""
        return [] if self.experiment is None else list(self.experiment.shares)

    def to_hold(self) -> list[str]:
        """Ids of the releases that a replica keeps loaded, most important first.

        These are the live release, those of the experiment, and those that are staged. Where nothing is staged and no
        experiment runs, the previous release stays loaded, so that a rollback finds it in memory. That makes two
        releases, or more where an experiment has more.
        """
        previous = [self.previous] if self.previous is not None else []
        return list(dict.fromkeys([self.release, *self.others, *(self.staged or self.others or previous)]))

    @property
    def decides_answers(self) -> tuple[object, ...]:
        """The parts of the pointer on which the answers to users depend."""
        return self.release, self.experiment, self.denylist

    def answers_like(self, other: "LivePointer | None") -> bool:
        """Whether users get the same answers under both pointers."""
        return other is not None and self.decides_answers == other.decides_answers

    @property
    def decides_rollback(self) -> tuple[object, ...]:
        """The parts of the pointer on which the outcome of a rollback depends."""
        return self.release, self.previous, self.promoted_at, self.experiment

    def require_consistent(self) -> None:
        """Raises PointerError where the live release also has a share of the traffic in the experiment."""
        if self.experiment is not None and self.release in self.others:
            raise PointerError(
                f"release {self.release}: is live and cannot have a share in experiment {self.experiment.name} beside"
                " that; nothing has changed. Run python -m serve.releases, and leave it out of the shares"
            )

    def pointing_at(self, release: str, previous: str | None, **changes: Any) -> "LivePointer":
        """A new pointer at a release, with nothing staged and no experiment; the denylist stays in force."""
        since = self.promoted_at if release == self.release else utc_timestamp()
        return LivePointer(release, previous, since, denylist=self.denylist, later=self.later, **changes)

    def traffic_share(self, release: str) -> float:
        """The share of the users that a release answers, between 0 and 1."""
        others = {} if self.experiment is None else self.experiment.shares
        return 1 - sum(others.values()) if release == self.release else others.get(release, 0.0)


def promoted(live: LivePointer | None, release: str) -> LivePointer:
    """The pointer after a release gets all of the traffic.

    Promoting the live release again changes nothing, except that it ends an experiment.
    """
    if live is None:
        return LivePointer(release, None, utc_timestamp())
    if live.release == release:
        return replace(unstaged(live, live.attempt), experiment=None)
    return live.pointing_at(release, live.release)


def experiment_ended(live: LivePointer, of: Experiment | None) -> LivePointer:
    """The pointer after an experiment ends; the live release has all of the traffic. Where none runs, nothing changes.

    Args:
        of: the run that is to end; None where none ran when that was decided.

    Raises:
        PointerError: another run has begun meanwhile.
    """
    if live.experiment is None:
        return live
    if of is None or live.experiment.key != of.key:
        raise PointerError(
            f"experiment {live.experiment.name}: has begun meanwhile, at {live.experiment.since}, and runs on; run"
            " python -m serve.split again if it is to end too"
        )
    return promoted(live, live.release)


def rolled_back(
    live: LivePointer | None,
    reason: str | None = None,
    of: Experiment | None = None,
    decided_on: LivePointer | None = None,
) -> LivePointer:
    """The pointer after a rollback: it ends an experiment or, where none runs, returns to the previous release.

    A rollback of a pointer that is itself the result of a rollback changes nothing more.

    Args:
        of: if given, the rollback is of this run of an experiment, and must not change what came after it.
        decided_on: if given, the pointer on which the rollback was decided. Another change of the traffic that came
            after it stays; where somebody else has done the same rollback, nothing changes.

    Raises:
        PointerError: no release is live, or none was live before; the experiment `of` does not run any more; or the
            traffic is not as in `decided_on` any more.
    """
    if live is None:
        raise PointerError("no release is live: there is nothing to roll back")
    if of is not None and (live.experiment is None or live.experiment.key != of.key):
        raise PointerError(f"experiment {of.name}, begun at {of.since}: does not run any more")
    if decided_on is not None and live.decides_rollback != decided_on.decides_rollback:
        return _as_wanted(live, rolled_back(decided_on))
    if live.experiment is not None:
        return live.pointing_at(live.release, live.previous, rolled_back=", ".join(live.others), reason=reason)
    if live.rolled_back is not None:
        return unstaged(live, live.attempt)
    if live.previous is None:
        raise PointerError(f"release {live.release}: none was live before it; run python -m serve.promote release=ID")
    return live.pointing_at(live.previous, None, rolled_back=live.release, reason=reason)


def _as_wanted(live: LivePointer, wanted: LivePointer) -> LivePointer:
    """The pointer, where a rollback has made it what is wanted; raises PointerError where it is something else."""
    if live.rolled_back == wanted.rolled_back and Traffic.of(live) == Traffic.of(wanted):
        return live
    raise PointerError(
        f"what is live has changed since this rollback began (live: {Traffic.of(live)}); nothing was rolled back. To"
        f" roll back what is live now, run python -m serve.rollback again; for {wanted.release} alone, python -m"
        f" serve.promote release={wanted.release}"
    )


def with_experiment(live: LivePointer, experiment: Experiment) -> LivePointer:
    """The pointer after an experiment begins; one that was running is over, unless it is the same: then it runs on."""
    if experiment.is_like(live.experiment):
        return unstaged(live, live.attempt)
    return live.pointing_at(live.release, live.previous, experiment=experiment)


def staging(live: LivePointer, releases: list[str], attempt: str) -> LivePointer:
    """The pointer that asks the replicas to load releases, in place of any that were staged before.

    Where the same releases are staged already, the pointer and its attempt stay as they are: both rollouts share it.
    """
    if live.staged == releases:
        return live
    return replace(live, staged=releases, attempt=attempt)


def unstaged(live: LivePointer, attempt: str | None) -> LivePointer:
    """The pointer without the releases that `attempt` has staged; those that another attempt has staged stay."""
    return replace(live, staged=[], attempt=None) if live.attempt == attempt else live


def utc_timestamp() -> str:
    """The time now in UTC as ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")

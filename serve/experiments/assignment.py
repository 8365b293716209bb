"""Experiments: releases other than the live one answer a share of the users. A canary has one such release.

A hash of the experiment's name and the user decides who is in which variant. A user therefore stays in a variant, and
another experiment divides the users independently.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from data.artifacts.bounds import bounded, check_bounds
from data.artifacts.errors import ConfigError
from data.artifacts.structured import known_fields

CONTROL = "control"
"""The variant of the users whom the live release answers."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
"""The names that an experiment may have; the name is part of a path."""


@dataclass(kw_only=True, slots=True)
class TrafficConfig:
    """The experiment that an operator asks for; its values are in conf/traffic.

    Attributes:
        name: name of the experiment; it decides who is in which variant.
        shares: share of the users by release id, each between 0 and 1; the live release answers the rest. Empty: the
            running experiment ends.
    """

    name: str = "experiment"
    shares: dict[str, float] = bounded(factory=dict, above=0, below=1)

    def __post_init__(self) -> None:
        check_bounds(self, "traffic")
        if not NAME.fullmatch(self.name):
            raise ConfigError(f"traffic.name: {self.name!r} must be up to 100 letters, digits, '-', '_' or '.'")
        if sum(self.shares.values()) >= 1:
            raise ConfigError(f"traffic.shares: {dict(self.shares)} must add up to less than 1")


@dataclass(frozen=True, slots=True)
class Experiment:
    """A running experiment. Its fields are keys of live.json.

    Attributes:
        name: name of the experiment.
        shares: share of all users by release id, without the live release.
        since: ISO timestamp of its beginning.
    """

    name: str
    shares: dict[str, float]
    since: str

    @classmethod
    def of_json(cls, value: dict[str, Any]) -> "Experiment":
        """Reads an experiment as a pointer or a run's folder has it; keys that a later version has added are ignored.

        Raises:
            TypeError, AttributeError: a key is missing, or a value is of another type.
            ValueError: the shares are not between 0 and 1, or leave nothing to control; or `since` is no ISO timestamp
                with a time zone.
        """
        found = cls(**known_fields(cls, value, {}))
        if datetime.fromisoformat(found.since).tzinfo is None:
            raise ValueError(f"since is {found.since!r}, which has no time zone")
        if not all(0 < share < 1 for share in found.shares.values()) or sum(found.shares.values()) >= 1:
            raise ValueError(f"shares are {found.shares!r}, and should be between 0 and 1 and add up to less than 1")
        if CONTROL in found.shares:
            raise ValueError(f"shares has {CONTROL!r}, which is what the shares leave")
        return found

    @property
    def key(self) -> str:
        """Identifies this run of the experiment among others of the same name, such as one with other shares."""
        return f"{self.name}@{self.since}"

    @property
    def run(self) -> str:
        """The name of this run's folder of exposures: its beginning in UTC, such as 2026-01-31T09-05-00.250Z."""
        return run_name(self.since)

    @property
    def variants(self) -> dict[str, float]:
        """The shares of all variants, that of control first."""
        return with_control(self.shares)

    def is_like(self, other: "Experiment | None") -> bool:
        """Whether the other one has this one's name and shares, so that its exposures count for the same run."""
        return other is not None and (other.name, other.shares) == (self.name, self.shares)

    def assign(self, unit: str) -> str:
        """The variant of a unit: `CONTROL` or a release id.

        Args:
            unit: a user id; for a request without a user, the request's id.
        """
        position = hash_to_unit_interval(self.name, unit)
        for release_id, share in self.shares.items():
            if position < share:
                return release_id
            position -= share
        return CONTROL


@dataclass(frozen=True, slots=True)
class Assignment:
    """The variant of a running experiment that an answer belongs to: `CONTROL` or a release id."""

    experiment: Experiment
    variant: str


def run_name(since: str) -> str:
    """The name of the run that began at an ISO timestamp, fit for a path and for any store.

    Raises:
        ValueError: it is not an ISO timestamp.
    """
    moment = datetime.fromisoformat(since)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H-%M-%S}.{moment.microsecond // 1000:03}Z"


def with_control(shares: dict[str, float]) -> dict[str, float]:
    """Returns the shares by variant: control, which has what the releases leave, and then the releases."""
    return {CONTROL: 1 - sum(shares.values()), **shares}


def in_percent(share: float) -> str:
    """A share of the users with the digits that a small one needs, such as 5% and 0.04%."""
    return f"{100 * share:.4g}%"


def hash_to_unit_interval(name: str, unit: str) -> float:
    """A number in [0, 1), uniform over units and independent between names, and always the same for both."""
    digest = hashlib.blake2b(f"{name}\0{unit}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64

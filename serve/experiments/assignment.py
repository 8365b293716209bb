"""Experiments: some users are answered by other releases than the live one. A canary is one with a single other.

Who is asked by what is decided by hash, for each user always alike, and for each experiment anew.
"""

import hashlib
import re
from dataclasses import dataclass, field

from data.artifacts.errors import ConfigError

CONTROL = "control"
"""The variant of those who are answered by the live release."""

NAMED = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@dataclass(kw_only=True, slots=True)
class TrafficConfig:
    """An experiment as an operator asks for it, conf/traffic.

    Attributes:
        name: of the experiment; it decides who is in which variant.
        shares: of the users, by release; the rest is the live release's. Empty: the experiment is over.
    """

    name: str = "experiment"
    shares: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not NAMED.fullmatch(self.name):
            raise ConfigError(f"traffic.name: {self.name!r} must be up to 100 letters, digits, '-', '_' or '.'")
        if not all(0 < share < 1 for share in self.shares.values()) or sum(self.shares.values()) >= 1:
            raise ConfigError(
                f"traffic.shares: {dict(self.shares)} must lie between 0 and 1, with something left to the live release"
            )


@dataclass(frozen=True, slots=True)
class Experiment:
    """One that runs.

    Attributes:
        shares: by release, of all users.
        since: ISO.
    """

    name: str
    shares: dict[str, float]
    since: str

    @property
    def key(self) -> str:
        """Tells it from others of its name."""
        return f"{self.name}@{self.since}"

    @property
    def variants(self) -> dict[str, float]:
        """All shares, the live release's first."""
        return {CONTROL: 1 - sum(self.shares.values()), **self.shares}

    def variant(self, unit: str) -> str:
        """Control, or a release: for a user, or for a request of nobody."""
        at = place(self.name, unit)
        for release, share in self.shares.items():
            if at < share:
                return release
            at -= share
        return CONTROL


@dataclass(frozen=True, slots=True)
class Arm:
    """What an answer was part of."""

    experiment: str
    variant: str


def place(name: str, unit: str) -> float:
    """A number in [0, 1) that looks random and is always the same for an experiment's name and a unit."""
    digest = hashlib.blake2b(f"{name}\0{unit}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64

"""How a replica follows the live pointer: the intervals."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class FollowerConfig:
    """How a replica follows the live pointer.

    Attributes:
        replica: unique name of the replica.
        poll_s: seconds between two readings of the pointer.
        lease_s: seconds after which a reading of the pointer is stale: it is read again before a request is answered.
        linger_s: seconds for which a release stays loaded after the pointer has ceased to name it, for requests that
            are in progress.
        answers_stale: whether it gives answers to clients also while its reading is stale.
    """

    replica: str
    poll_s: float
    lease_s: float = 3.0
    linger_s: float = 2.0
    answers_stale: bool = True
